package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"testing"
)

func TestRenewalsOf(t *testing.T) {
	web := anObject(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {
  initContainers: [{name: prep, volumeMounts: [{name: whole, mountPath: /w}]}],
  containers: [
    {name: app, volumeMounts: [{name: whole, mountPath: /etc/whole}, {name: some, mountPath: /etc/some}, {name: data, mountPath: /data}]},
    {name: part, volumeMounts: [{name: whole, mountPath: /etc/a, subPath: a}]}],
  volumes: [{name: whole, configMap: {name: conf}}, {name: data, emptyDir: {}},
    {name: some, projected: {sources: [{secret: {name: token, items: [{key: t, path: sub/token}, {key: same, path: same}]}}, {configMap: {name: elsewhere}}]}}]}}}}`)
	data := []*Object{
		anObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: conf}, data: {a: "1"}, binaryData: {b: AAE=}}`),
		anObject(t, `{apiVersion: v1, kind: Secret, metadata: {name: token}, data: {t: c2VjcmV0, same: ""}}`),
	}
	changed := map[string]map[string]bool{"ConfigMap/conf": {"a": true, "b": true, "c": true}, "Secret/token": {"t": true}, "ConfigMap/elsewhere": {"x": true}}
	sum := func(content string) string {
		s := sha256.Sum256([]byte(content))
		return hex.EncodeToString(s[:])
	}
	want := []Renewal{
		{Ref{"Deployment", "web"}, "app", "/etc/whole", map[string]string{"a": sum("1"), "b": sum("\x00\x01"), "c": ""}},
		{Ref{"Deployment", "web"}, "app", "/etc/some", map[string]string{"sub/token": sum("secret")}},
	}
	if got := renewalsOf(web, changed, data); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := renewalsOf(web, nil, data); len(got) > 0 {
		t.Errorf("nothing has changed: %+v", got)
	}
}
