package deploy

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// keptReleases is how many images of a service the set's parent remembers.
const keptReleases = 10

// A Release is an image of a service that was ready in the cluster.
type Release struct {
	Ref  string    `json:"ref"`
	Time time.Time `json:"time"` // when it was ready for the first time since another was
}

// releases are, by service, the images that were ready, the newest last. They stand
// in the set's parent: replica sets of earlier revisions do not say whether they
// ever were ready.
type releases struct {
	mu   sync.Mutex
	made map[string][]Release
}

// read takes what the parent says.
func (r *releases) read(data map[string]string) {
	made := map[string][]Release{}
	if text := data["releases"]; text != "" && json.Unmarshal([]byte(text), &made) != nil {
		made = map[string][]Release{} // at worst there is nothing to roll back to
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = made
}

// add notes images as ready and says whether that is news.
func (r *releases) add(images map[string]string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	for service, ref := range images {
		list := r.made[service]
		if n := len(list); n > 0 && list[n-1].Ref == ref {
			continue
		}
		list = append(list, Release{ref, now.UTC().Truncate(time.Second)})
		r.made[service] = list[max(0, len(list)-keptReleases):]
		news = true
	}
	return news
}

// into puts what the parent shall say into its data.
func (r *releases) into(data map[string]string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.made) == 0 {
		return data
	}
	text, err := json.Marshal(r.made)
	if err != nil {
		return data
	}
	if data == nil {
		data = map[string]string{}
	}
	data["releases"] = string(text)
	return data
}

// Record remembers images, by service, as ready: call it when their rollout is.
// Images that are known as the newest cost one read and no write.
func (d *Deployer) Record(ctx context.Context, images map[string]string) error {
	cm, err := d.parent(ctx)
	if err != nil || cm == nil || !d.releases.add(images, d.now()) {
		return err
	}
	return d.writeParent(ctx, parseMembers(cm.Annotations))
}

// Releases are, by service, the images that were ready, the newest last.
func (d *Deployer) Releases(ctx context.Context) (map[string][]Release, error) {
	d = d.beside()
	if _, err := d.parent(ctx); err != nil {
		return nil, err
	}
	d.releases.mu.Lock()
	defer d.releases.mu.Unlock()
	out := maps.Clone(d.releases.made)
	for service, list := range out {
		out[service] = slices.Clone(list)
	}
	return out, nil
}

// Previous is the newest of releases that is not running.
func Previous(list []Release, running string) (Release, bool) {
	for _, r := range slices.Backward(list) {
		if r.Ref != running {
			return r, true
		}
	}
	return Release{}, false
}
