// Package mpegts reads the segments of HLS: MPEG-2 transport streams (ISO/IEC 13818-1) of one program, with H.264 pictures
// (ISO/IEC 14496-10, Annex B) and AAC sound (ISO/IEC 14496-3, ADTS). It says what is in the bytes, whatever a playlist
// says, and decodes nothing.
package mpegts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Clock is how many units of a time stamp a second has. Time stamps have 33 bits: after 26.5 hours they begin again.
const Clock = 90_000

// Wrap is one more than the highest time stamp.
const Wrap = 1 << 33

// PacketSize is the size of a transport packet in bytes.
const PacketSize = 188

// Segment is what is in one.
type Segment struct {
	Size      int64
	Pictures  []Picture          // in the order of decoding
	Sound     []Sound            // in the order of the file
	Sequences []Sequence         // the different sequence parameter sets, in order of appearance
	Formats   []Format           // the different formats of sound, in order of appearance
	OpensIDR  bool               // its first picture is an IDR picture, after sequence and picture parameter sets
	Counters  map[int]Continuity // by packet id
	Breaks    []string           // where a continuity counter shows that packets are missing
	Faults    []string           // what ISO/IEC 13818-1 or RFC 8216 (section 3.2) does not allow
}

// Picture is one access unit of video.
type Picture struct {
	PTS, DTS int64 // when it is shown and decoded
	Clock    int64 // the program's clock where the picture begins, in the units of a time stamp; -1 if there was none yet
	IDR      bool  // decoding can begin here: its slices are NAL units of type 5
}

// Sound is a packet of the elementary stream of audio.
type Sound struct {
	PTS    int64 // of the first frame that begins in it
	Frames int   // that begin in it; each has 1024 samples
}

// Format is what an ADTS header says of sound.
type Format struct {
	ObjectType int // 2 is AAC-LC
	Rate       int // samples per second
	Channels   int // 0 if it is told elsewhere
}

// FrameSamples is how many samples of each channel a frame of AAC has.
const FrameSamples = 1024

// Continuity is the counter of the first and the last packet with a packet id. Free says that the first packet marks a
// discontinuity, which may begin with any count.
type Continuity struct {
	First, Last byte
	Free        bool
}

const (
	typeH264 = 0x1b
	typeAAC  = 0x0f
	nullPID  = 0x1fff
)

// Read reads a segment to its end. What is no transport stream, or ends within a packet, is an error; what a player might
// stumble over is in Breaks and Faults.
func Read(from io.Reader) (Segment, error) {
	r := reader{Segment: Segment{Counters: map[int]Continuity{}}, pmt: -1, video: -1, audio: -1, clock: -1}
	in := bufio.NewReaderSize(from, 512*PacketSize)
	packet := make([]byte, PacketSize)
	for {
		n, err := io.ReadFull(in, packet)
		r.Size += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return r.Segment, fmt.Errorf("it ends within packet %d", r.count)
		}
		if err != nil {
			return r.Segment, err
		}
		if packet[0] != 0x47 {
			return r.Segment, fmt.Errorf("packet %d is not one of MPEG-TS", r.count)
		}
		r.packet(packet)
		r.count++
	}
	r.end()
	return r.Segment, nil
}

// reader follows the streams of one program.
type reader struct {
	Segment
	count             int // packets
	pmt, video, audio int // packet ids, -1 until they are known
	patTable          table
	pmtTable          table
	picture           pes
	sound             pes
	begun             int64 // the clock where the picture began
	clock             int64
	frameRest         int // bytes of the last frame of sound that are still to come
}

func (r *reader) fault(format string, args ...any) {
	const most = 20 // of a segment that is wrong everywhere
	if len(r.Faults) < most {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// packet takes a transport packet (ISO/IEC 13818-1, 2.4.3.2).
func (r *reader) packet(p []byte) {
	pid, starts := int(p[1]&0x1f)<<8|int(p[2]), p[1]&0x40 != 0
	if pid == nullPID {
		return
	}
	if p[1]&0x80 != 0 {
		r.fault("packet %d is marked as damaged", r.count)
	}
	var adaptation []byte
	payload := p[4:]
	if p[3]&0x20 != 0 {
		n := 1 + int(payload[0])
		if n > len(payload) {
			r.fault("packet %d has an adaptation field longer than itself", r.count)
			return
		}
		adaptation, payload = payload[1:n], payload[n:]
	}
	if p[3]&0x10 == 0 {
		payload = nil
	}
	r.adapt(adaptation)
	r.counter(pid, p[3]&0x0f, payload != nil, len(adaptation) > 0 && adaptation[0]&0x80 != 0)
	switch pid {
	case 0:
		r.patTable.add(starts, payload, r.association)
	case r.pmt:
		r.pmtTable.add(starts, payload, r.program)
	case r.video:
		if starts {
			r.endPicture()
			r.begun = r.clock
		}
		r.picture.add(starts, payload, opening)
	case r.audio:
		if starts {
			r.endSound()
		}
		r.sound.add(starts, payload, longestSound)
	}
}

// adapt reads the program's clock (2.4.3.4): 33 bits of 90 kHz, followed by a finer part that nobody needs here.
func (r *reader) adapt(field []byte) {
	if len(field) < 7 || field[0]&0x10 == 0 {
		return
	}
	r.clock = int64(field[1])<<25 | int64(field[2])<<17 | int64(field[3])<<9 | int64(field[4])<<1 | int64(field[5])>>7
}

// counter follows a continuity counter (2.4.3.3): one more with each packet that has a payload. A packet may come twice.
func (r *reader) counter(pid int, count byte, payload, free bool) {
	c, known := r.Counters[pid]
	if !known {
		c = Continuity{First: count, Last: count, Free: free}
	}
	want := c.Last
	if payload {
		want = (c.Last + 1) & 0x0f
	}
	if known && !free && count != want && count != c.Last {
		r.Breaks = append(r.Breaks, fmt.Sprintf("packet id %d counts from %d to %d at packet %d", pid, c.Last, count, r.count))
	}
	c.Last = count
	r.Counters[pid] = c
}

// end takes what is complete only because the segment is.
func (r *reader) end() {
	r.endPicture()
	r.endSound()
	switch {
	case r.pmt < 0:
		r.fault("there is no program association table")
	case r.video < 0 && r.audio < 0:
		r.fault("there is no program map table with H.264 or AAC in it")
	case r.clock < 0:
		r.fault("there is no program clock")
	}
	if r.frameRest > 0 {
		r.fault("the last frame of sound lacks %d bytes", r.frameRest)
	}
}
