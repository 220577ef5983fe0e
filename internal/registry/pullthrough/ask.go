package pullthrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A statusError is an answer that is no image.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
}

// A silentError is a host that did not answer, or not in a way that can be
// trusted: it need not be asked again at once.
type silentError struct{ error }

func (e *silentError) Unwrap() error { return e.error }

// silence is the error of a request that got no answer.
func silence(err error) error {
	if err = plain(err); errors.Is(err, errRefused) {
		return err
	}
	return &silentError{err}
}

// A token opens a repository for a while.
type token struct {
	header string // of Authorization
	until  time.Time
}

// ask sends a request to a registry's API, and once more with what it takes
// where it wants to know who asks. The answer is one of want, or an error.
func (c *Cache) ask(ctx context.Context, n *network, host, repository, method, path string, header http.Header, want ...int) (*http.Response, error) {
	key := host + "/" + repository
	auth := c.tokens.get(key, c.now())
	for first := true; ; first = false {
		req, err := http.NewRequestWithContext(ctx, method, "https://"+endpoint(host)+"/v2/"+repository+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header = header.Clone()
		req.Header.Set("User-Agent", "kdev-registry")
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		resp, err := n.client(host).Do(req)
		if err != nil {
			return nil, silence(err)
		}
		for _, status := range want {
			if resp.StatusCode == status {
				return resp, nil
			}
		}
		drop(resp)
		if resp.StatusCode != http.StatusUnauthorized || !first {
			return nil, &statusError{resp.StatusCode}
		}
		if auth, err = c.authorize(ctx, n, host, repository, resp.Header.Values("WWW-Authenticate")); err != nil {
			return nil, err
		}
	}
}

// authorize gets what a registry's challenge wants: a token for the repository,
// by the login that a project has for it, else for anybody.
func (c *Cache) authorize(ctx context.Context, n *network, host, repository string, challenges []string) (string, error) {
	key := host + "/" + repository
	c.tokens.drop(key)
	login, has := n.logins[key]
	for _, text := range challenges {
		scheme, params := challenge(text)
		switch {
		case scheme == "basic" && has:
			req := http.Request{Header: http.Header{}}
			req.SetBasicAuth(login.Username, login.Password)
			auth := req.Header.Get("Authorization")
			c.tokens.put(key, token{auth, c.now().Add(time.Hour)})
			return auth, nil
		case scheme == "bearer":
			t, err := c.fetchToken(ctx, n, host, repository, params, login)
			if err != nil {
				return "", err
			}
			c.tokens.put(key, t)
			return t.header, nil
		}
	}
	return "", &statusError{http.StatusUnauthorized}
}

// maxToken bounds the answer of a token server; tokens have some kilobytes.
const maxToken = 256 << 10

// fetchToken is the token protocol of the distribution project, section
// "Requesting a Token".
func (c *Cache) fetchToken(ctx context.Context, n *network, host, repository string, params map[string]string, login Login) (token, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Scheme != "https" || !askable(strings.ToLower(realm.Host), n.hosts[host]) {
		return token{}, fmt.Errorf("the token server: %w", errRefused)
	}
	q := realm.Query()
	if s := params["service"]; s != "" {
		q.Set("service", s)
	}
	q.Set("scope", "repository:"+repository+":pull")
	realm.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return token{}, err
	}
	req.Header.Set("User-Agent", "kdev-registry")
	if login.Username != "" {
		req.SetBasicAuth(login.Username, login.Password)
	}
	resp, err := n.client(host).Do(req)
	if err != nil {
		return token{}, silence(err)
	}
	defer drop(resp)
	if resp.StatusCode != http.StatusOK {
		return token{}, &statusError{resp.StatusCode}
	}
	var doc struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&doc); err != nil {
		return token{}, fmt.Errorf("the token server's answer: %w", err)
	}
	if doc.Token == "" {
		doc.Token = doc.AccessToken
	}
	if doc.Token == "" || strings.ContainsAny(doc.Token, "\r\n") {
		return token{}, errors.New("the token server gives no token")
	}
	// A minute is what the protocol says where the answer says nothing. The last
	// tenth is left: a token must not end on its way.
	valid := time.Duration(min(max(doc.ExpiresIn, 60), 3600)) * time.Second
	return token{"Bearer " + doc.Token, c.now().Add(valid * 9 / 10)}, nil
}

// challenge reads one WWW-Authenticate header (RFC 9110, 11.6.1) as far as
// registries write it: a scheme and quoted parameters.
func challenge(text string) (scheme string, params map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	params = map[string]string{}
	for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var value string
		if quoted, is := strings.CutPrefix(after, `"`); is {
			value, rest, _ = strings.Cut(quoted, `"`)
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		params[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return strings.ToLower(scheme), params
}

// plain takes the URL out of an error: it may hold a signature.
func plain(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// drop ends an answer that is not read. A short rest leaves the connection usable.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}
