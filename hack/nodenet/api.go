package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// client reads Node objects. client-go would be thirty megabytes for three requests.
type client struct {
	server string
	http   *http.Client
}

// node is what is read of a Node object.
type node struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

// address is the node's internal IPv4 address; the zero value where it has none yet.
func (n node) address() netip.Addr {
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); a.Type == "InternalIP" && err == nil && ip.Is4() {
			return ip
		}
	}
	return netip.Addr{}
}

var (
	serverLine = regexp.MustCompile(`(?m)^\s*server:\s*"?([^\s"]+)`)
	caLine     = regexp.MustCompile(`(?m)^\s*certificate-authority-data:\s*"?([A-Za-z0-9+/=]+)`)
	subnetLine = regexp.MustCompile(`(?m)^\s*podSubnet:\s*"?([^\s",]+)`)
)

// connect makes a client from the kubelet's kubeconfig, which kubeadm writes with one cluster in it, and from the
// certificate that the kubelet keeps renewed. It is called again after every failure, so a renewed certificate is picked up.
func connect(kubeconfig, certificate string) (*client, error) {
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("waiting for the kubelet's kubeconfig: %w", err)
	}
	server, ca := serverLine.FindSubmatch(text), caLine.FindSubmatch(text)
	if server == nil || ca == nil {
		return nil, fmt.Errorf("reading %s: no server or no certificate authority in it", kubeconfig)
	}
	pem, err := base64.StdEncoding.DecodeString(string(ca[1]))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", kubeconfig, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	own, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		return nil, fmt.Errorf("waiting for the kubelet's certificate: %w", err)
	}
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		DisableKeepAlives:     true, // a client per attempt must not leave connections behind
	}
	return &client{server: strings.TrimSuffix(string(server[1]), "/"), http: &http.Client{Transport: transport}}, nil
}

// statusError is an answer other than 200.
type statusError struct {
	code int
	path string
}

func (e statusError) Error() string {
	return fmt.Sprintf("asking for %s: the API server answers %d", e.path, e.code)
}

func forbidden(err error) bool {
	var s statusError
	return errors.As(err, &s) && s.code == http.StatusForbidden
}

func (c *client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, statusError{answer.StatusCode, path}
	}
	return answer.Body, nil
}

func (c *client) get(ctx context.Context, name string) (node, error) {
	var one node
	body, err := c.open(ctx, "/api/v1/nodes/"+name)
	if err != nil {
		return one, err
	}
	defer body.Close()
	return one, json.NewDecoder(body).Decode(&one)
}

// list returns all nodes by name, and the version to watch from.
func (c *client) list(ctx context.Context) (map[string]node, string, error) {
	body, err := c.open(ctx, "/api/v1/nodes")
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	var all struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []node `json:"items"`
	}
	if err := json.NewDecoder(body).Decode(&all); err != nil {
		return nil, "", fmt.Errorf("listing nodes: %w", err)
	}
	nodes := make(map[string]node, len(all.Items))
	for _, one := range all.Items {
		nodes[one.Metadata.Name] = one
	}
	return nodes, all.Metadata.ResourceVersion, nil
}

// watch calls each for every change since version until the stream ends, which the API server makes it do within the hour.
func (c *client) watch(ctx context.Context, version string, each func(gone bool, one node) error) error {
	body, err := c.open(ctx, "/api/v1/nodes?watch=1&resourceVersion="+version)
	if err != nil {
		return err
	}
	defer body.Close()
	for events := json.NewDecoder(body); ; {
		var event struct {
			Type   string `json:"type"`
			Object node   `json:"object"`
		}
		if err := events.Decode(&event); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("watching nodes: %w", err)
		}
		switch event.Type {
		case "ADDED", "MODIFIED", "DELETED":
			if err := each(event.Type == "DELETED", event.Object); err != nil {
				return err
			}
		case "ERROR": // the version is too old; list again
			return nil
		}
	}
}

// podSubnet reads the cluster's pod range from the kubeadm configuration that kind writes on every node.
func podSubnet(file string) (netip.Prefix, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("waiting for kind's kubeadm configuration: %w", err)
	}
	line := subnetLine.FindSubmatch(text)
	if line == nil {
		return netip.Prefix{}, fmt.Errorf("reading %s: no podSubnet in it", file)
	}
	return parse4(string(line[1]))
}

func parse4(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("reading a pod range: %w", err)
	}
	if !p.Addr().Is4() {
		return p, fmt.Errorf("reading a pod range: %s is not IPv4, and this node image has no other network", s)
	}
	return p.Masked(), nil
}
