package mpegts

// table collects the sections of a program table, which may run over several packets (ISO/IEC 13818-1, 2.4.4).
type table struct{ kept []byte }

func (t *table) add(starts bool, payload []byte, whole func(section []byte)) {
	if starts {
		if len(payload) == 0 || 1+int(payload[0]) > len(payload) {
			t.kept = nil
			return
		}
		before := 1 + int(payload[0]) // the rest of a section that began earlier
		if len(t.kept) > 0 {
			t.kept = append(t.kept, payload[1:before]...)
			t.take(whole)
		}
		t.kept = append(t.kept[:0:0], payload[before:]...)
	} else if len(t.kept) > 0 {
		t.kept = append(t.kept, payload...)
	}
	t.take(whole)
}

// take hands on the sections that are complete. What follows the last is stuffing.
func (t *table) take(whole func(section []byte)) {
	for len(t.kept) >= 3 && t.kept[0] != 0xff {
		n := 3 + (int(t.kept[1]&0x0f)<<8 | int(t.kept[2]))
		if len(t.kept) < n {
			return
		}
		whole(t.kept[:n])
		t.kept = t.kept[n:]
	}
	if len(t.kept) > 0 && t.kept[0] == 0xff {
		t.kept = nil
	}
}

const (
	tableHead = 8 // bytes before what is in it
	tableSum  = 4 // bytes after it
)

// association reads a program association (2.4.4.3). HLS has one program.
func (r *reader) association(s []byte) {
	if !r.isWhole(s, 0x00, "program association table") {
		return
	}
	for p := s[tableHead : len(s)-tableSum]; len(p) >= 4; p = p[4:] {
		if p[0] == 0 && p[1] == 0 { // not a program but the network's table
			continue
		}
		pid := int(p[2]&0x1f)<<8 | int(p[3])
		if r.pmt >= 0 && r.pmt != pid {
			r.fault("there is more than one program")
			return
		}
		r.pmt = pid
	}
}

// program reads a program map (2.4.4.8).
func (r *reader) program(s []byte) {
	if !r.isWhole(s, 0x02, "program map table") || len(s) < tableHead+4+tableSum {
		return
	}
	p := s[tableHead : len(s)-tableSum]
	p = p[min(4+(int(p[2]&0x0f)<<8|int(p[3])), len(p)):]
	for len(p) >= 5 {
		pid := int(p[1]&0x1f)<<8 | int(p[2])
		switch p[0] {
		case typeH264:
			r.stream(&r.video, pid, "video")
		case typeAAC:
			r.stream(&r.audio, pid, "audio")
		}
		p = p[min(5+(int(p[3]&0x0f)<<8|int(p[4])), len(p)):]
	}
}

func (r *reader) stream(known *int, pid int, kind string) {
	if *known >= 0 && *known != pid {
		r.fault("there is more than one %s stream", kind)
		return
	}
	*known = pid
}

// isWhole reports whether a section is the table that it must be, and whole: its last four bytes are a checksum.
func (r *reader) isWhole(s []byte, id byte, name string) bool {
	if len(s) < tableHead+tableSum || s[0] != id {
		r.fault("packet %d holds no %s, as it should", r.count, name)
		return false
	}
	if checksum(s) != 0 {
		r.fault("the checksum of the %s is wrong", name)
		return false
	}
	return true
}

// checksum is the CRC of Annex A; over a section with its own checksum it is 0.
func checksum(s []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range s {
		sum ^= uint32(b) << 24
		for range 8 {
			high := sum >> 31
			sum <<= 1
			if high == 1 {
				sum ^= 0x04c11db7
			}
		}
	}
	return sum
}
