package format

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseJSON is text as an object; what is none fails the line.
func parseJSON(text string) (map[string]any, error) {
	obj := map[string]any{}
	err := json.Unmarshal([]byte(text), &obj)
	return obj, err
}

// tryParseJSON is text as an object, numbers as they are written; nil for what is none.
func tryParseJSON(text string) map[string]any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	obj := map[string]any{}
	if decoder.Decode(&obj) != nil {
		return nil
	}
	return obj
}

func extractJSONParts(text string, keys ...string) (string, error) {
	obj, err := parseJSON(text)
	if err != nil {
		return "", err
	}
	parts := make([]string, len(keys))
	for i, key := range keys {
		parts[i] = fmt.Sprint(obj[key])
	}
	return strings.Join(parts, ", "), nil
}

func tryExtractJSONParts(text string, keys ...string) string {
	parts, err := extractJSONParts(text, keys...)
	if err != nil {
		return text
	}
	return parts
}

// extjson is text where it is JSON, else text as a JSON string.
func extjson(text string) string {
	if json.Valid([]byte(text)) {
		return strings.TrimSuffix(text, "\n")
	}
	return string(appendString(nil, []byte(text)))
}

func prettyJSON(v any) string {
	obj, ok := v.(map[string]any)
	if s, text := v.(string); text {
		if json.Unmarshal([]byte(s), &obj) != nil {
			return s
		}
	} else if !ok {
		return fmt.Sprint(v)
	}
	b, err := json.MarshalIndent(obj, "", "  ")
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func toRFC3339Nano(v any) string {
	t, _ := toTime(v)
	return t.Format(time.RFC3339Nano)
}

func toUTC(v any) time.Time {
	t, _ := toTime(v)
	return t.UTC()
}

func toTimestamp(v any, layout string, zone ...string) (string, error) {
	t, err := toTime(v)
	if err != nil {
		return "", err
	}
	name := ""
	if len(zone) > 0 {
		name = zone[0]
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return "", err
	}
	return t.In(loc).Format(layout), nil
}

// layouts are tried in this order, a date without a zone being in UTC: the list
// and the order are those of spf13/cast, which stern uses.
var layouts = []struct {
	layout string
	zone   bool // says its offset
}{
	{time.DateOnly, false},
	{time.RFC3339, true},
	{"2006-01-02T15:04:05", false},
	{time.RFC1123Z, true},
	{time.RFC1123, false},
	{time.RFC822Z, true},
	{time.RFC822, false},
	{time.RFC850, false},
	{"2006-01-02 15:04:05.999999999 -0700 MST", true},
	{"2006-01-02T15:04:05-0700", true},
	{"2006-01-02 15:04:05Z0700", true},
	{time.DateTime, false},
	{time.ANSIC, false},
	{time.UnixDate, false},
	{time.RubyDate, true},
	{"2006-01-02 15:04:05Z07:00", true},
	{"02 Jan 2006", false},
	{"2006-01-02 15:04:05 -07:00", true},
	{"2006-01-02 15:04:05 -0700", true},
	{time.Kitchen, true},
	{time.Stamp, true},
	{time.StampMilli, true},
	{time.StampMicro, true},
	{time.StampNano, true},
}

// toTime reads seconds since 1970, with a fraction or without, and dates.
func toTime(v any) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		return v, nil
	case int:
		return time.Unix(int64(v), 0), nil
	case int64:
		return time.Unix(v, 0), nil
	case json.Number:
		if t, ok := unixTime(v.String()); ok {
			return t, nil
		}
	case string:
		if t, ok := unixTime(v); ok {
			return t, nil
		}
		for _, l := range layouts {
			t, err := time.Parse(l.layout, v)
			if err != nil {
				continue
			}
			if !l.zone {
				t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
			}
			return t, nil
		}
		return time.Time{}, fmt.Errorf("unable to parse date: %s", v)
	}
	return time.Time{}, fmt.Errorf("unable to cast %#v of type %T to time.Time", v, v)
}

// unixTime reads "1700000000" and "1700000000.123456789" without passing through a
// float, which has too few digits.
func unixTime(s string) (time.Time, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if strings.Contains(frac, ".") {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	nsec := int64(0)
	if frac != "" {
		nsec, err = strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		if err != nil {
			return time.Time{}, false
		}
	}
	return time.Unix(sec, nsec), true
}

func levelColor(level string) Color {
	switch strings.ToLower(level) {
	case "debug":
		return SGR(35)
	case "info":
		return SGR(34)
	case "warn", "warning":
		return SGR(33)
	case "error", "dpanic", "panic":
		return SGR(31)
	case "fatal", "critical":
		return SGR(36)
	}
	return Color{}
}

// bunyanLevel is the number of node-bunyan and pino: 10 trace … 60 fatal.
func bunyanLevel(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case float64:
		return int64(v), true
	}
	return 0, false
}

func bunyanColor(n int64) Color {
	switch {
	case n < 30:
		return SGR(35)
	case n < 40:
		return SGR(34)
	case n < 50:
		return SGR(33)
	case n < 60:
		return SGR(31)
	case n < 100:
		return SGR(36)
	}
	return Color{}
}
