package config

// The types of this file are the format. Tags:
//
//	yaml     the key
//	doc      one line for docs/config.md and for editors
//	default  what holds when the key is left out, in words
//	enum     the only values, separated by commas
//	check    a named rule from checks
//	min,max  bounds of a whole number
//	required the key must be there
//
// A field of type later is a key of the design that this version of kdev does
// not have: it is refused by name instead of being called unknown.

type later struct{}

type file struct {
	APIVersion   string                     `yaml:"apiVersion" enum:"kdev.dev/v1" default:"kdev.dev/v1" doc:"version of this format"`
	Name         string                     `yaml:"name" check:"label" default:"the folder's name" doc:"name of the project"`
	Namespace    string                     `yaml:"namespace" check:"label" default:"what the manifests say, else the name" doc:"namespace that kdev deploys to, created and removed by kdev"`
	Requires     requiresFile               `yaml:"requires" doc:"what the project needs of the person's machine"`
	Cluster      clusterFile                `yaml:"cluster" doc:"the cluster that kdev creates when there is no local one"`
	Services     map[string]serviceFile     `yaml:"services" keys:"label" default:"one for each folder with a Dockerfile" doc:"the services, by name"`
	Manifests    manifestsFile              `yaml:"manifests" default:"deploy/overlays/dev, k8s/overlays/dev, k8s/*.yaml and the like" doc:"what to deploy: one source, or a list that keeps its order"`
	Environments map[string]environmentFile `yaml:"environments" keys:"label" default:"the folders beside the dev overlay" doc:"other environments, by name; never deployed by kdev up"`
	Watch        watchFile                  `yaml:"watch" doc:"which files count"`
	Router       routerFile                 `yaml:"router" default:"on" doc:"the addresses of services by name, or off"`
	Contexts     []string                   `yaml:"contexts" doc:"contexts that are not local and yet allowed"`
	Local        []localFile                `yaml:"local" doc:"work on this machine while kdev up runs: generators and servers"`

	Secrets map[string]secretFile `yaml:"secrets" keys:"secret" doc:"Secrets that manifests reference and do not hold, by name; made in the environment of kdev up"`

	Registry string `yaml:"registry" check:"repository" doc:"registry, with a folder, that takes the images for clusters that are not on this machine; your docker login counts"`

	BuildKit buildkitFile `yaml:"buildkit" default:"$BUILDKIT_HOST, else the engine's" doc:"the BuildKit that runs what the RUN of Dockerfiles says; a string is its address"`

	Include []string `yaml:"include" doc:"other projects that kdev up brings up in the same session: folders relative to kdev.yaml, or commits of repositories, URL@COMMIT or URL@COMMIT//FOLDER"`

	Tasks map[string]taskFile `yaml:"tasks" keys:"label" doc:"commands for containers of services, by name: kdev run NAME, or : in the dashboard"`

	Preview later `yaml:"preview"`
}

type requiresFile struct {
	Kdev string `yaml:"kdev" check:"constraint" doc:"versions of kdev that will do, for example >=0.3"`
}

type clusterFile struct {
	Provider string `yaml:"provider" enum:"kind" default:"kind" doc:"what runs the cluster"`
	Nodes    int    `yaml:"nodes" min:"1" max:"20" default:"1" doc:"number of nodes"`
	Version  text   `yaml:"version" check:"kubernetes" default:"that of kdev's kind release" doc:"Kubernetes version, for example v1.36"`
}

type buildkitFile struct {
	Address  string  `yaml:"address" check:"buildkit" default:"$BUILDKIT_HOST, which wins" doc:"tcp://HOST:PORT, unix:///SOCKET, docker-container://NAME, kube-pod://NAME and the like, or cluster: one that kdev starts in the cluster"`
	TLS      tlsFile `yaml:"tls" doc:"certificates for tcp://"`
	Image    string  `yaml:"image" default:"moby/buildkit, of the version that kdev is built with" doc:"with cluster: the image that is started"`
	Rootless bool    `yaml:"rootless" doc:"with cluster: the image is one of rootless BuildKit, and its pod is not privileged"`
	Config   string  `yaml:"config" check:"inside" doc:"with cluster: a buildkitd.toml, relative to kdev.yaml, for mirrors and the like"`
}

type tlsFile struct {
	CA         string `yaml:"ca" doc:"file with the authority of the server's certificate, relative to kdev.yaml, absolute or below ~/"`
	Cert       string `yaml:"cert" doc:"file with the client's certificate"`
	Key        string `yaml:"key" doc:"file with the client's key"`
	ServerName string `yaml:"serverName" default:"the host of the address" doc:"name in the server's certificate"`
}

type serviceFile struct {
	Image  string       `yaml:"image" check:"repository" default:"an image whose last path component is the service's name" doc:"repository that the manifests name, without tag or digest"`
	Build  buildFile    `yaml:"build" default:"the folder of the service's name that has a Dockerfile" doc:"how the image is made; a string is the context"`
	Sync   syncFile     `yaml:"sync" default:"inferred from the Dockerfile" doc:"which files are copied into running containers, or off"`
	OnSync []onSyncFile `yaml:"onSync" doc:"what happens in the container after a sync"`
	Ports  []portFile   `yaml:"ports" doc:"ports forwarded to this machine: remote, local:remote or host:local:remote"`
	Needs  []needFile   `yaml:"needs" doc:"services or workloads that are started first; postgres and redis are made for a service with app, or as a mapping with their settings"`

	Trigger string `yaml:"trigger" enum:"auto,manual" default:"auto" doc:"manual: what is saved waits for kdev trigger"`
	Start   string `yaml:"start" enum:"auto,manual" default:"auto" doc:"manual: kdev up does not start it; kdev trigger, or a service that needs it, does"`
	Ready   string `yaml:"ready" enum:"wait,ignore" default:"wait" doc:"ignore: nothing waits until it is ready, nor fails because it is not"`

	App appFile `yaml:"app" doc:"the service has no manifests: kdev renders Deployment, Service and Ingress"`

	Local standInFile `yaml:"local" doc:"a program on this machine that runs in the place of the service's own: docs/local.md"`

	Dev later `yaml:"dev"`
}

type buildFile struct {
	Context    string           `yaml:"context" check:"inside" default:"the folder of the service's name, else the project's" doc:"folder that the build reads, relative to kdev.yaml"`
	Dockerfile string           `yaml:"dockerfile" default:"Dockerfile" doc:"the Dockerfile, relative to the context"`
	Target     string           `yaml:"target" default:"the last stage" doc:"stage of the Dockerfile"`
	Args       map[string]text  `yaml:"args" keys:"variable" doc:"build arguments"`
	Go         goFile           `yaml:"go" doc:"compile a Go program on this machine instead of a Dockerfile"`
	Command    buildCommandFile `yaml:"command" doc:"run a command that makes the image, or what goes into it, instead of a Dockerfile"`
	Image      string           `yaml:"image" doc:"take an image of others as it is instead of building one"`

	Secrets    map[string]buildSecretFile `yaml:"secrets" keys:"secretID" doc:"values for RUN --mount=type=secret, by ID; in no image, cache or log"`
	SSH        []string                   `yaml:"ssh" doc:"ssh agents or keys for RUN --mount=type=ssh: default, or ID=SOCKET or ID=KEY"`
	CacheFrom  []string                   `yaml:"cacheFrom" doc:"where the engine may find steps that were built elsewhere: an image, or as docker buildx writes it"`
	CacheTo    []string                   `yaml:"cacheTo" doc:"where the engine leaves its steps for others, as docker buildx writes it: type=registry,ref=…"`
	Network    string                     `yaml:"network" enum:"default,none,host" default:"default" doc:"network of RUN"`
	ExtraHosts map[string]string          `yaml:"extraHosts" keys:"host" doc:"addresses by host name, for RUN"`
}

type buildSecretFile struct {
	File string `yaml:"file" doc:"file that holds it, relative to kdev.yaml, absolute or below ~/"`
	Env  string `yaml:"env" check:"variable" doc:"variable of your environment that holds it"`
}

type goFile struct {
	Main  string          `yaml:"main" check:"inside" default:"the context" doc:"folder of the main package, relative to the context"`
	Flags []string        `yaml:"flags" doc:"flags of go build, for example -tags=netgo"`
	Env   map[string]text `yaml:"env" keys:"variable" default:"CGO_ENABLED: 0" doc:"variables for go build"`
	Base  string          `yaml:"base" default:"gcr.io/distroless/static-debian12:nonroot" doc:"image that the program is laid over, or scratch"`
}

type buildCommandFile struct {
	Run        commandFile     `yaml:"run" required:"true" doc:"command that runs on this machine, in the context; a string is given to sh -c"`
	Inputs     []string        `yaml:"inputs" default:"all that git and .dockerignore do not ignore" doc:"patterns of the files that the command reads, relative to the context"`
	Env        map[string]text `yaml:"env" keys:"variable" doc:"variables for the command"`
	Output     string          `yaml:"output" check:"inside" default:"the command leaves an image on the engine" doc:"what the command makes, relative to the context: an OCI layout or a tar file of docker save; with to, any file or folder"`
	To         string          `yaml:"to" check:"absolute" doc:"where the output lies in the image"`
	Base       string          `yaml:"base" doc:"image that the output is laid over, or scratch; wanted with to"`
	Entrypoint commandFile     `yaml:"entrypoint" default:"the base's" doc:"what the image runs; with to"`
	Image      string          `yaml:"image" default:"$KDEV_IMAGE" doc:"what the command calls the image that it leaves on the engine"`
}

type syncRuleFile struct {
	From string `yaml:"from" required:"true" check:"inside" doc:"file or folder, relative to the build context"`
	To   string `yaml:"to" required:"true" check:"absolute" doc:"where it is in the container; a slash at the end keeps the name of a single file"`

	Volume bool `yaml:"volume" doc:"mount a writable copy of that folder there, for a container whose root is read-only"`
}

type onSyncFile struct {
	Paths   []string    `yaml:"paths" default:"every file" doc:"patterns of files, relative to the build context; one without a slash matches in every folder"`
	Run     commandFile `yaml:"run" doc:"command that runs in the container; a string is given to sh -c"`
	Restart restartFile `yaml:"restart" doc:"restart the process in place, or the whole container"`
	Signal  string      `yaml:"signal" check:"signal" doc:"signal that is sent to the process instead of a restart, for example HUP"`
}

type sourceFile struct {
	Kustomize string   `yaml:"kustomize" check:"inside" doc:"folder with a kustomization.yaml"`
	YAML      []string `yaml:"yaml" check:"manifest" doc:"files and patterns, for example k8s/*.yaml, or addresses with their hash: https://HOST/FILE#sha256=HASH"`

	Helm    helmFile          `yaml:"helm" doc:"a helm chart, rendered by kdev"`
	Command sourceCommandFile `yaml:"command" doc:"a command that prints manifests"`
}

type helmFile struct {
	Chart   string                `yaml:"chart" required:"true" check:"chart" doc:"folder or package (*.tgz), or oci://REGISTRY/CHART, or https://REPOSITORY/CHART"`
	Version text                  `yaml:"version" doc:"version of a chart of a registry or repository"`
	Release string                `yaml:"release" check:"label" default:"the project's name" doc:"name of the release, as templates see it"`
	Values  []string              `yaml:"values" check:"inside" doc:"files of values; the last one wins"`
	Set     map[string]chartValue `yaml:"set" doc:"single values by their path, over those of the files; null drops the chart's default"`
}

// A chartValue is a string, bool, int64 or float64, or nil.
type chartValue struct{ value any }

type sourceCommandFile struct {
	Run    commandFile     `yaml:"run" required:"true" doc:"command that runs in the project's folder and prints manifests; a string is given to sh -c"`
	Inputs []string        `yaml:"inputs" check:"inside" doc:"patterns of the files that it reads: kdev up runs it again when one changes"`
	Env    map[string]text `yaml:"env" keys:"variable" doc:"variables for the command"`
}

type environmentFile struct {
	Kustomize string   `yaml:"kustomize" check:"inside" doc:"folder with a kustomization.yaml"`
	YAML      []string `yaml:"yaml" check:"manifest" doc:"files and patterns, for example k8s/*.yaml, or addresses with their hash: https://HOST/FILE#sha256=HASH"`

	Helm      helmFile          `yaml:"helm" doc:"a helm chart, rendered by kdev"`
	Command   sourceCommandFile `yaml:"command" doc:"a command that prints manifests"`
	Manifests manifestsFile     `yaml:"manifests" doc:"several sources in their order, instead of one"`
	Context   string            `yaml:"context" default:"that of kdev up" doc:"kubeconfig context of this environment"`
	Namespace string            `yaml:"namespace" check:"label" default:"what its manifests say, else the name" doc:"namespace of this environment"`
}

type watchFile struct {
	Ignore []string `yaml:"ignore" doc:"patterns in the syntax of .gitignore, on top of the project's own"`
}

type routerKeysFile struct {
	Port int `yaml:"port" min:"1" max:"65535" default:"7080" doc:"port on this machine; the next free one when it is in use"`
}

// Values that may be written in more than one way. special in decode.go knows
// how each is read, and how the schema describes it.
type (
	text          string   // any scalar, kept as it was written: 1.30 stays 1.30
	portFile      string   // 80, 8080:80, 127.0.0.1:8080:80
	commandFile   []string // string (for sh -c) or list
	restartFile   string   // true, false or container; empty is false
	manifestsFile []sourceFile
	syncFile      struct {
		Off   bool
		Rules []syncRuleFile
	}
	needFile struct { // name, or {KIND: {…}}
		Name  string
		Store *storeFile // of the kind Name
	}
	routerFile struct {
		Off  bool
		Keys routerKeysFile
	}
)
