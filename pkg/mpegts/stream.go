package mpegts

import (
	"bytes"
	"slices"
)

const (
	// opening is how much of a picture is kept: enough for its parameter sets and the first slice's header.
	opening = 64 << 10
	// longestSound is more than a packet of audio has, whose length is told in 16 bits.
	longestSound = 128 << 10
)

// pes is a packet of an elementary stream (ISO/IEC 13818-1, 2.4.3.6) that is being collected.
type pes struct {
	kept []byte
	open bool
}

func (s *pes) add(starts bool, payload []byte, most int) {
	if starts {
		s.kept, s.open = s.kept[:0], true
	}
	if s.open && len(s.kept) < most {
		s.kept = append(s.kept, payload...)
	}
}

// take ends the packet and returns its time stamps and what it carries; ok is false if there was none.
func (s *pes) take() (pts, dts int64, data []byte, ok bool) {
	p := s.kept
	if !s.open || len(p) < 9 || !bytes.HasPrefix(p, []byte{0, 0, 1}) || 9+int(p[8]) > len(p) {
		s.open = false
		return 0, 0, nil, false
	}
	s.open = false
	head, data := p[9:9+int(p[8])], p[9+int(p[8]):]
	pts = -1
	if p[7]&0x80 != 0 && len(head) >= 5 {
		pts = stamp(head)
	}
	dts = pts
	if p[7]&0x40 != 0 && len(head) >= 10 {
		dts = stamp(head[5:])
	}
	return pts, dts, data, true
}

// stamp reads the 33 bits of a time stamp, which has marker bits in between.
func stamp(b []byte) int64 {
	return int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)
}

func (r *reader) endPicture() {
	if !r.picture.open {
		return
	}
	pts, dts, data, ok := r.picture.take()
	if !ok || pts < 0 {
		r.fault("picture %d has no time stamp", len(r.Pictures))
		return
	}
	p := Picture{PTS: pts, DTS: dts, Clock: r.begun}
	var sps, pps bool
	for _, nal := range bytes.Split(data, []byte{0, 0, 1})[1:] {
		if len(nal) < 2 {
			continue
		}
		kind := nal[0] & 0x1f
		if kind == nalSlice || kind == nalIDR {
			p.IDR = kind == nalIDR
			break
		}
		sps, pps = sps || kind == nalSPS, pps || kind == nalPPS
		if kind == nalSPS {
			r.sequence(nal)
		}
	}
	if len(r.Pictures) == 0 {
		r.OpensIDR = p.IDR && sps && pps
	}
	r.Pictures = append(r.Pictures, p)
}

// sequence keeps a sequence parameter set that is not known yet.
func (r *reader) sequence(nal []byte) {
	s, err := parseSequence(nal)
	if err != nil {
		r.fault("a sequence parameter set cannot be read: %v", err)
		return
	}
	if !slices.Contains(r.Sequences, s) {
		r.Sequences = append(r.Sequences, s)
	}
}

// rates are those that an ADTS header can name.
var rates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// endSound counts the frames that begin in a packet of sound. A frame may end in a later one.
func (r *reader) endSound() {
	if !r.sound.open {
		return
	}
	pts, _, data, ok := r.sound.take()
	if !ok {
		r.fault("packet %d of sound has no header", len(r.Sound))
		return
	}
	skip := min(r.frameRest, len(data))
	r.frameRest -= skip
	s := Sound{PTS: pts}
	for data = data[skip:]; len(data) > 0; s.Frames++ {
		format, length, ok := parseADTS(data)
		if !ok {
			r.fault("packet %d of sound holds something else than frames of AAC", len(r.Sound))
			break
		}
		if !slices.Contains(r.Formats, format) {
			r.Formats = append(r.Formats, format)
		}
		r.frameRest = max(0, length-len(data))
		data = data[min(length, len(data)):]
	}
	if s.Frames > 0 && pts < 0 {
		r.fault("packet %d of sound has no time stamp", len(r.Sound))
	}
	r.Sound = append(r.Sound, s)
}

// parseADTS reads the header of a frame of sound (ISO/IEC 14496-3, 1.A.2.2) and how long the frame is.
func parseADTS(b []byte) (f Format, length int, ok bool) {
	if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 {
		return f, 0, false
	}
	index := int(b[2] >> 2 & 0x0f)
	length = int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5)
	if index >= len(rates) || length < 7 {
		return f, 0, false
	}
	return Format{ObjectType: int(b[2]>>6) + 1, Rate: rates[index], Channels: int(b[2]&1)<<2 | int(b[3]>>6)}, length, true
}
