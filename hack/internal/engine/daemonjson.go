package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// merge adds a runtime to the engine's configuration and makes it the default. A key that is set stays as it is: changes
// names what was added, kept says what was not and what that means.
func merge(old []byte, name, path string) (text []byte, changes, kept []string, err error) {
	config := map[string]any{}
	if len(bytes.TrimSpace(old)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(old))
		decoder.UseNumber()
		if err := decoder.Decode(&config); err != nil {
			return nil, nil, nil, err
		}
	}
	runtimes, ok := config["runtimes"].(map[string]any)
	if !ok {
		if config["runtimes"] != nil {
			return nil, nil, nil, fmt.Errorf("runtimes is not an object")
		}
		runtimes = map[string]any{}
		config["runtimes"] = runtimes
	}
	if runtimes[name] == nil {
		runtimes[name] = map[string]any{"path": path}
		changes = append(changes, "runtimes."+name)
	}
	switch now := config["default-runtime"]; now {
	case nil:
		config["default-runtime"] = name
		changes = append(changes, "default-runtime")
	case name:
	default:
		kept = append(kept, fmt.Sprintf("default-runtime stays %v; kind's nodes need %s here", now, name))
	}
	if len(changes) == 0 {
		return old, nil, kept, nil
	}
	text, err = json.MarshalIndent(config, "", "  ")
	return append(text, '\n'), changes, kept, err
}
