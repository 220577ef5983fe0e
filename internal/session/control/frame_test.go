package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/session"
)

func TestFrameIsBounded(t *testing.T) {
	r := bufio.NewReader(strings.NewReader(strings.Repeat("x", 100) + "\n"))
	if _, err := readFrame(r, 50); !errors.Is(err, errTooLong) {
		t.Errorf("a frame above the bound gave %v", err)
	}
	if _, err := decodeCommand(strings.NewReader(`{"verb":"` + strings.Repeat("x", longestCommand) + `"}`)); !errors.Is(err, errTooLong) {
		t.Errorf("a command above the bound gave %v", err)
	}
}

func TestCommandIsStrict(t *testing.T) {
	for _, text := range []string{``, `{`, `[]`, `{"verb":1}`, `{"verb":"build","force":true}`, `{"verb":"build"}{}`, `{"verb":"build"} x`} {
		if c, err := decodeCommand(strings.NewReader(text)); err == nil || c != (session.Command{}) {
			t.Errorf("%s was taken as %+v, %v", text, c, err)
		}
	}
}

// FuzzFrames: whatever comes, no frame is longer than the bound, and the frames
// are the lines.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("{}\n{\"a\":1}\n"), 16)
	f.Add([]byte("cut"), 3)
	f.Fuzz(func(t *testing.T, in []byte, longest int) {
		longest = min(max(longest, 1), 1<<16)
		r := bufio.NewReaderSize(bytes.NewReader(in), 16)
		var back []byte
		for {
			frame, err := readFrame(r, longest)
			if err != nil {
				if frame != nil {
					t.Fatalf("a frame came with %v", err)
				}
				if errors.Is(err, io.EOF) && !bytes.Equal(back, in) {
					t.Fatalf("%q came back as %q", in, back)
				}
				return
			}
			if len(frame) >= longest || bytes.IndexByte(frame, '\n') >= 0 {
				t.Fatalf("frame %q with bound %d", frame, longest)
			}
			back = append(append(back, frame...), '\n')
		}
	})
}

// FuzzCommand: what is taken says the same when it is sent on.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"verb":"scale","service":"web","replicas":3}`))
	f.Add([]byte(`{"verb":"delete-pod","pod":"web-1"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := decodeCommand(bytes.NewReader(in))
		if err != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeCommand(bytes.NewReader(b)); err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v came back as %+v, %v", c, again, err)
		}
	})
}
