package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// About says which session a socket belongs to. It lies beside the socket, so
// that a command finds the session of its folder without asking a cluster.
type About struct {
	APIVersion string    `json:"apiVersion"`
	Project    string    `json:"project"`
	Root       string    `json:"root"`
	Context    string    `json:"context"`
	Namespace  string    `json:"namespace"`
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Detached   bool      `json:"detached"`      // it has no terminal: `kdev up --detach`
	Log        string    `json:"log,omitempty"` // of a detached one: where its lines go
}

// longest is what the address of a Unix socket may hold (sun_path of unix(7)
// has 108 bytes, 104 on macOS), with the end mark.
const longest = 103

// Dir is the directory of the sockets of this user.
func Dir(getenv func(string) string) string {
	dir := filepath.Join(os.TempDir(), "kdev-"+strconv.Itoa(os.Getuid()))
	if run := getenv("XDG_RUNTIME_DIR"); run != "" {
		dir = run
	}
	dir = filepath.Join(dir, "kdev")
	if len(dir)+len("/0123456789abcdef.sock") > longest {
		return filepath.Join("/tmp", "kdev-"+strconv.Itoa(os.Getuid()), "kdev")
	}
	return dir
}

// name is the file of a session, without its ending: one for each root, context
// and namespace.
func (a About) name() string {
	sum := sha256.Sum256([]byte(a.Root + "\x00" + a.Context + "\x00" + a.Namespace))
	return hex.EncodeToString(sum[:8])
}

// Socket is the path of the session's socket below dir.
func (a About) Socket(dir string) string { return filepath.Join(dir, a.name()+".sock") }

// private makes dir, and refuses one that others may enter: whoever can connect
// to the socket can do what the user can.
func private(dir string) error {
	if parent := filepath.Dir(dir); strings.HasPrefix(filepath.Base(parent), "kdev-") {
		if err := private(parent); err != nil { // below the folder for everybody's temporary files
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !mine(info) {
		return &problem.Problem{Code: "socket-unsafe", Where: dir, Summary: "the folder for control sockets belongs to somebody else",
			Hint: "remove it, or set XDG_RUNTIME_DIR to a folder of yours"}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// Find lists the sessions that answer for the project at root, in any context
// and namespace unless these are given. What a killed session left is removed.
func Find(getenv func(string) string, root, context, namespace string) ([]About, error) {
	return List(getenv, func(a *About) bool {
		return a.Root == root && (context == "" || a.Context == context) && (namespace == "" || a.Namespace == namespace)
	})
}

// List is the running sessions of this user that are wanted. What a session that was
// killed has left is removed.
func List(getenv func(string) string, wanted func(*About) bool) ([]About, error) {
	dir := Dir(getenv)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var found []About
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is just leaving
		}
		if err != nil {
			return nil, fmt.Errorf("find running sessions: %w", err)
		}
		var a About
		if json.Unmarshal(text, &a) != nil || !wanted(&a) {
			continue
		}
		if !answers(a.Socket(dir)) {
			_ = os.Remove(a.Socket(dir))
			_ = os.Remove(file)
			continue
		}
		found = append(found, a)
	}
	return found, nil
}
