package logs

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/logs/store"
)

func TestMask(t *testing.T) {
	const password = `S3cr/t&"word"`
	for _, tt := range []struct {
		name, in, want string
		values         []string
	}{
		{"nothing", "a line", "a line", nil},
		{"a value", "password is hunter2, again hunter2", "password is ***, again ***", []string{"hunter2"}},
		{"one that holds another", "hunter2000", "***", []string{"hunter2", "hunter2000"}},
		{"one too short to hide", "root of 1234", "root of 1234", []string{"root", "1234"}},
		{"what stands everywhere", "false at localhost", "false at localhost", []string{"false", "localhost"}},
		{"a newline at the end, as files have it", "token abcdef", "token ***", []string{"abcdef\n"}},
		{"lines of a key", "x\nMIIEvQIBADAN", "x\n***", []string{"-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n"}},
		{"a file of variables", "connecting with hunter2", "connecting with ***", []string{"USER=me\nPASSWORD=\"hunter2\"\n"}},
		{"base64", base64.StdEncoding.EncodeToString([]byte(password)), "***", []string{password}},
		{"behind a name in base64", "Basic " + base64.StdEncoding.EncodeToString([]byte("user:hunter2-s3cret")), "Basic dXNlcjp***A==", []string{"hunter2-s3cret"}},
		{"with a newline in base64", base64.StdEncoding.EncodeToString([]byte("hunter2-s3cret\n")), "***QK", []string{"hunter2-s3cret"}},
		{"in the middle of base64", base64.StdEncoding.EncodeToString([]byte("xxhunter2-s3cretyy")), "eHh***Hl5", []string{"hunter2-s3cret"}},
		{"base64 of URLs", base64.URLEncoding.EncodeToString([]byte("x~~~???>>>~~~x")), "eH***ng=", []string{"~~~???>>>~~~"}},
		{"ASCII only", `"\u00e9t\u00e9-1234"`, `"***"`, []string{"été-1234"}},
		{"the password of a URL", "password passw0rd! is wrong", "password *** is wrong", []string{"postgres://u:passw0rd%21@db/x"}},
		{"in JSON", `{"p":"S3cr/t\u0026\"word\""}`, `{"p":"***"}`, []string{password}},
		{"in quotes", `p="S3cr/t&\"word\""`, `p="***"`, []string{password}},
		{"in a query", "?p=" + url.QueryEscape(password), "?p=***", []string{password}},
		{"in a URL", url.UserPassword("me", password).String() + "@db", "me:***@db", []string{password}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &Mask{}
			m.Set(tt.values)
			if got := m.String(tt.in); got != tt.want {
				t.Errorf("String: %q, want %q", got, tt.want)
			}
			var got []string
			for line := range strings.SplitSeq(tt.in, "\n") {
				got = append(got, string(m.Bytes([]byte(line))))
			}
			if joined := strings.Join(got, "\n"); joined != tt.want {
				t.Errorf("Bytes: %q, want %q", joined, tt.want)
			}
			data := []byte(tt.in)
			var lines []store.Line
			for off := 0; off <= len(data); {
				n := strings.IndexByte(tt.in[off:]+"\n", '\n')
				lines = append(lines, store.Line{Off: uint32(off), Len: uint32(n)})
				off += n + 1
			}
			m.apply(lines, data)
			got = nil
			for _, l := range lines {
				got = append(got, string(data[l.Off:l.Off+l.Len]))
			}
			if joined := strings.Join(got, "\n"); joined != tt.want {
				t.Errorf("apply: %q, want %q", joined, tt.want)
			}
		})
	}
}
