package source

import "time"

// A stamper parses the RFC 3339 times that the kubelet puts before each line.
// Times of one stream share their minute for thousands of lines, so it keeps
// what the last one's minute was; the rest is nine digits of arithmetic.
type stamper struct {
	minute [17]byte // "2006-01-02T15:04:"
	zone   [6]byte  // "Z" or "+07:00"
	zoneN  int
	base   int64 // nanoseconds of the minute
	valid  bool
}

// parse reads a time at the start of line and returns it in nanoseconds, with
// the length of its text; ok is false when line does not begin with a time that
// a space or the line's end follows.
func (s *stamper) parse(line []byte) (ns int64, n int, ok bool) {
	// The shortest is 2006-01-02T15:04:05Z.
	if len(line) < 20 || line[4] != '-' || line[10] != 'T' || line[16] != ':' {
		return 0, 0, false
	}
	sec := int64(line[17]-'0')*10 + int64(line[18]-'0')
	if line[17] < '0' || line[17] > '5' || line[18] < '0' || line[18] > '9' {
		return 0, 0, false
	}
	i, frac, scale := 19, int64(0), int64(1_000_000_000)
	if line[i] == '.' {
		for i++; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
			if scale > 1 {
				scale /= 10
				frac = frac*10 + int64(line[i]-'0')
			}
		}
		if i == 20 {
			return 0, 0, false
		}
	}
	zone := i
	for i < len(line) && line[i] != ' ' {
		if i-zone == len(s.zone) {
			return 0, 0, false
		}
		i++
	}
	if !s.valid || string(line[:17]) != string(s.minute[:]) || string(line[zone:i]) != string(s.zone[:s.zoneN]) {
		if !s.learn(line[:17], line[zone:i]) {
			return 0, 0, false
		}
	}
	return s.base + sec*1_000_000_000 + frac*scale, i, true
}

func (s *stamper) learn(minute, zone []byte) bool {
	t, err := time.Parse("2006-01-02T15:04:05Z07:00", string(minute)+"00"+string(zone))
	if err != nil {
		return false
	}
	s.base, s.valid = t.UnixNano(), true
	copy(s.minute[:], minute)
	s.zoneN = copy(s.zone[:], zone)
	return true
}
