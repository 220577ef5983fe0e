package assemble

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	"github.com/moby/buildkit/solver/pb"
)

// A user is the owner that --chown or USER asks for.
type user struct{ UID, GID int }

// owner reads a ChownOpt as BuildKit's readUser does: a name that the image's
// passwd or group does not have is root.
func owner(o *pb.ChownOpt, tree func(input int64) (fsys, error), read func(*node) ([]byte, error)) (*user, error) {
	if o == nil {
		return nil, nil
	}
	var u user
	if o.User != nil {
		switch v := o.User.User.(type) {
		case *pb.UserOpt_ByName:
			fields, err := lookup(v.ByName, "etc/passwd", tree, read)
			if err != nil {
				return nil, err
			}
			if len(fields) >= 4 {
				u.UID, u.GID = number(fields[2]), number(fields[3])
			}
		case *pb.UserOpt_ByID:
			u.UID, u.GID = int(v.ByID), int(v.ByID)
		}
	}
	if o.Group != nil {
		switch v := o.Group.User.(type) {
		case *pb.UserOpt_ByName:
			fields, err := lookup(v.ByName, "etc/group", tree, read)
			if err != nil {
				return nil, err
			}
			if len(fields) >= 3 {
				u.GID = number(fields[2])
			}
		case *pb.UserOpt_ByID:
			u.GID = int(v.ByID)
		}
	}
	return &u, nil
}

// lookup returns the fields of the first line of that name.
func lookup(who *pb.NamedUserOpt, file string, tree func(int64) (fsys, error), read func(*node) ([]byte, error)) ([]string, error) {
	f, err := tree(who.Input)
	if err != nil {
		return nil, err
	}
	return find(f, file, func(fields []string) bool { return fields[0] == who.Name }, read)
}

// find returns the fields of the first line that fits; nil where none does, or
// there is no such file.
func find(f fsys, file string, fits func(fields []string) bool, read func(*node) ([]byte, error)) ([]string, error) {
	n, err := stat(f, file)
	if err != nil || n == nil || !n.isRegular() {
		return nil, err
	}
	content, err := read(n)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if fields := strings.Split(line, ":"); fits(fields) {
			return fields, nil
		}
	}
	return nil, lines.Err()
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
