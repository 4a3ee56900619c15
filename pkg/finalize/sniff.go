package finalize

import "github.com/gabriel-vasile/mimetype"

// sniff tells the media type of a file from its first bytes, whatever its name and whatever the client said.
func sniff(head []byte) string {
	switch {
	case isTransportStream(head):
		return "video/mp2t"
	case len(head) > 12 && string(head[4:12]) == "ftypMSNV": // of Sony's cameras; mimetype takes it for sound
		return "video/mp4"
	}
	return mimetype.Detect(head).String()
}

// isTransportStream recognises an MPEG transport stream, which mimetype does not: packets of 188 bytes that begin with a
// sync byte (ISO/IEC 13818-1, section 2.4.3.2), or of 192 where a camera puts four bytes of time before each.
func isTransportStream(head []byte) bool {
	const sync, wanted = 0x47, 5
	for _, shape := range []struct{ size, skip int }{{188, 0}, {192, 4}} {
		n := 0
		for i := shape.skip; i < len(head) && head[i] == sync; i += shape.size {
			n++
		}
		if n >= wanted {
			return true
		}
	}
	return false
}
