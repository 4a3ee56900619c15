package transcode

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// segment is what the bytes of an MPEG-TS segment say, whatever any playlist says.
type segment struct {
	size    int64
	frames  int     // pictures
	sound   bool    // there is sound in it
	idr     bool    // it opens on an IDR picture, after its parameter sets
	profile [3]byte // profile, constraints and level of its first sequence parameter set
}

const (
	packetSize = 188
	opening    = 64 << 10 // of the first picture: enough for the parameter sets and the first slice's header
	typeH264   = 0x1b
	typeAAC    = 0x0f
)

// readSegment reads a segment to its end. One that was cut off by a full disk is an error or has too few frames.
func readSegment(path string) (segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return segment{}, err
	}
	defer func() { _ = f.Close() }()
	r := reader{video: -1, audio: -1, pmt: -1}
	in := bufio.NewReaderSize(f, 512*packetSize)
	packet := make([]byte, packetSize)
	for {
		n, err := io.ReadFull(in, packet)
		r.size += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && packet[0] != 0x47 {
			err = errors.New("not an MPEG-TS packet")
		}
		if err != nil {
			return segment{}, fmt.Errorf("read segment: %w", err)
		}
		r.packet(packet)
	}
	r.idr, r.profile = opensOnIDR(r.first)
	return r.segment, nil
}

// reader follows the two streams of one program.
type reader struct {
	segment
	pmt, video, audio int // packet ids
	first             []byte
}

func (r *reader) packet(p []byte) {
	pid, starts := int(p[1]&0x1f)<<8|int(p[2]), p[1]&0x40 != 0
	payload := p[4:]
	switch p[3] >> 4 & 3 {
	case 0, 2: // no payload
		return
	case 3:
		if int(payload[0]) >= len(payload) {
			return
		}
		payload = payload[1+int(payload[0]):]
	}
	switch {
	case starts && (pid == 0 || pid == r.pmt):
		r.table(pid, payload)
	case pid == r.audio:
		r.sound = true
	case pid == r.video:
		if starts {
			r.frames++
			// Past the header of the packetised stream, which would not be mistaken for a NAL unit but is none.
			if len(payload) > 9 {
				payload = payload[min(9+int(payload[8]), len(payload)):]
			}
		}
		if r.frames == 1 && len(r.first) < opening {
			r.first = append(r.first, payload...)
		}
	}
}

// table reads a program association or a program map that fits into one packet, as ours do.
func (r *reader) table(pid int, p []byte) {
	if len(p) == 0 || len(p) < 1+int(p[0])+12 {
		return
	}
	p = p[1+int(p[0]):]
	end := min(3+(int(p[1]&0x0f)<<8|int(p[2]))-4, len(p)) // without the checksum
	if pid == 0 {
		r.pmt = int(p[10]&0x1f)<<8 | int(p[11])
		return
	}
	for i := 12 + (int(p[10]&0x0f)<<8 | int(p[11])); i+5 <= end; i += 5 + (int(p[i+3]&0x0f)<<8 | int(p[i+4])) {
		id := int(p[i+1]&0x1f)<<8 | int(p[i+2])
		switch p[i] {
		case typeH264:
			r.video = id
		case typeAAC:
			r.audio = id
		}
	}
}

// opensOnIDR looks at the NAL units up to the first slice of the first picture.
func opensOnIDR(annexB []byte) (idr bool, profile [3]byte) {
	var sps, pps bool
	for _, nal := range bytes.Split(annexB, []byte{0, 0, 1})[1:] {
		if len(nal) < 4 {
			continue
		}
		switch nal[0] & 0x1f {
		case 7:
			if !sps {
				profile = [3]byte(nal[1:4])
			}
			sps = true
		case 8:
			pps = true
		case 1, 5:
			return nal[0]&0x1f == 5 && sps && pps, profile
		}
	}
	return false, profile
}
