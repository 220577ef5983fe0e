"""Makes a Deployment of each Fleet, by server-side apply, every second."""
import json
import os
import ssl
import time
import urllib.error
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/"
SERVER = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
TRUST = ssl.create_default_context(cafile=ACCOUNT + "ca.crt")


def read(name):
    with open(ACCOUNT + name) as f:
        return f.read()


def call(method, path, body=None):
    request = urllib.request.Request(SERVER + path, method=method, headers={"Authorization": "Bearer " + read("token")})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/apply-patch+yaml")
    with urllib.request.urlopen(request, context=TRUST, timeout=10) as answer:
        return json.load(answer)


def deployment(fleet):
    name, labels = fleet["metadata"]["name"], {"fleet": fleet["metadata"]["name"]}
    owner = {"apiVersion": fleet["apiVersion"], "kind": "Fleet", "name": name, "uid": fleet["metadata"]["uid"], "controller": True}
    ship = {"name": "ship", "image": fleet["spec"]["image"], "env": [{"name": "NAME", "value": name}]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "fleet-" + name, "ownerReferences": [owner]},
        "spec": {"replicas": fleet["spec"]["ships"], "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [ship]}}},
    }


namespace = read("namespace")
print("controller watches", namespace)
while True:
    try:
        for fleet in call("GET", f"/apis/example.com/v1/namespaces/{namespace}/fleets")["items"]:
            wanted = deployment(fleet)
            call("PATCH", f"/apis/apps/v1/namespaces/{namespace}/deployments/{wanted['metadata']['name']}?fieldManager=fleet&force=true", wanted)
    except (OSError, urllib.error.HTTPError) as e:
        print("trying again:", e)
    time.sleep(1)
