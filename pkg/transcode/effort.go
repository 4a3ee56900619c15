package transcode

import "fmt"

// effort is how hard the encoder tries at a picture of some size: section "Ladder" of docs/design.md has the measurements
// that chose it. x264's own names of the settings are in brackets.
type effort struct {
	shortSide int    // of the picture, in pixels, at most
	quality   string // (crf) the less, the better and the larger
	motion    int    // (subme) how finely motion is searched
	divided   bool   // (analyse) whether halves and quarters of a block may move on their own
	threads   int    // each holds pictures in memory, and waiting for one another takes processor time
}

// efforts lists them by size; the last is for larger pictures too. Small pictures are soon as large as their bit rate allows,
// and trying harder costs little there. The larger a picture, the less there is in a block that moves apart.
func efforts() []effort {
	return []effort{{360, "19", 3, true, 1}, {480, "19", 2, true, 1}, {720, "19.3", 2, false, 2}, {1080, "19.1", 1, false, 2}}
}

func effortFor(r Rendition) effort {
	all := efforts()
	for _, e := range all {
		if min(r.Width, r.Height) <= e.shortSide {
			return e
		}
	}
	return all[len(all)-1]
}

// encoder is how the picture of a rendition is encoded, with at most so many threads if that is not 0.
func (r Rendition) encoder(threads int) []string {
	e := effortFor(r)
	if threads > 0 {
		e.threads = min(e.threads, threads)
	}
	details := fmt.Sprintf("subme=%d", e.motion)
	if !e.divided {
		details += ":analyse=i4x4,i8x8"
	}
	most, buffer := RateBound(r.VideoBitRate)
	return []string{
		"-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-crf", e.quality,
		"-maxrate", fmt.Sprint(most), "-bufsize", fmt.Sprint(buffer),
		"-aq-mode", "2", "-b_strategy", "0", "-x264-params", details, "-threads", fmt.Sprint(e.threads),
	}
}

// RateBound bounds the bits per second of an encoder, and the buffer, in bits, out of which it may take more for a while, so
// that 20 s have no more than a bit rate on average: nine tenths of the buffer are there to begin with.
func RateBound(bitRate int) (most, buffer int) { return bitRate * 19 / 20, bitRate }

// decoderThreads bounds the threads of the decoder likewise. More would hold more pictures, and the encoders are slower.
func decoderThreads(threads int) int {
	const enough = 3
	if threads > 0 {
		return min(threads, enough)
	}
	return enough
}
