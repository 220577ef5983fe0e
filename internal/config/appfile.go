package config

import (
	"maps"
	"slices"
)

// appFile is the short form of a service without manifests. Its keys beside
// environments are those of appValuesFile.
type appFile struct {
	Given bool `yaml:"-"` // the key is there, and not empty

	Port      int             `yaml:"port" min:"1" max:"65535" doc:"port that the container listens on, and that of its Service; without one it has no Service"`
	Replicas  int             `yaml:"replicas" min:"1" max:"1000" default:"1" doc:"number of pods"`
	Command   commandFile     `yaml:"command" default:"the image's" doc:"what the container runs; a string is given to sh -c"`
	Env       map[string]text `yaml:"env" keys:"variable" doc:"variables of the container"`
	Secrets   []string        `yaml:"secrets" check:"secret" doc:"Secrets whose keys are variables of the container"`
	Host      string          `yaml:"host" check:"host" doc:"host name of an Ingress"`
	Health    string          `yaml:"health" check:"absolute" default:"a connection to the port" doc:"path that answers with 2xx when the service is well"`
	User      int             `yaml:"user" min:"1" max:"2147483647" default:"the image's, by its number" doc:"number of the user that the container runs as"`
	Resources resourcesFile   `yaml:"resources" doc:"what each pod gets"`

	Environments map[string]appValuesFile `yaml:"environments" keys:"label" doc:"other values in other environments; dev is that of kdev up"`
}

type appValuesFile struct {
	Port      int             `yaml:"port" min:"1" max:"65535" doc:"instead of the port above"`
	Replicas  int             `yaml:"replicas" min:"1" max:"1000" doc:"instead of the replicas above"`
	Command   commandFile     `yaml:"command" doc:"instead of the command above"`
	Env       map[string]text `yaml:"env" keys:"variable" doc:"over the variables above, one by one"`
	Secrets   []string        `yaml:"secrets" check:"secret" doc:"instead of the Secrets above"`
	Host      string          `yaml:"host" check:"host" doc:"instead of the host above"`
	Health    string          `yaml:"health" check:"absolute" doc:"instead of the path above"`
	Resources resourcesFile   `yaml:"resources" doc:"over the resources above, one by one"`
}

type resourcesFile struct {
	CPU    text `yaml:"cpu" check:"quantity" default:"100m" doc:"processors that are reserved; there is no limit"`
	Memory text `yaml:"memory" check:"quantity" default:"256Mi" doc:"memory that is reserved, and the limit"`
}

// storeFile are the settings of something that kdev makes for services that need it.
type storeFile struct {
	Name         string   `yaml:"name" check:"label" default:"the kind" doc:"name of its objects, and its host name"`
	Version      text     `yaml:"version" default:"postgres: 17, redis: 7" doc:"tag of its image"`
	Image        string   `yaml:"image" default:"the official one" doc:"image with a tag, in place of version"`
	Storage      text     `yaml:"storage" check:"quantity" default:"1Gi" doc:"size of its volume"`
	Env          string   `yaml:"env" check:"variable" default:"postgres: DATABASE_URL, redis: REDIS_URL" doc:"variable of the service that holds its URL"`
	Environments []string `yaml:"environments" check:"label" default:"every one" doc:"where kdev makes it; elsewhere the variable is yours to set"`
}

type secretFile struct {
	FromEnvFile  string                      `yaml:"fromEnvFile" check:"inside" doc:"file with lines NAME=value"`
	Keys         []string                    `yaml:"keys" default:"all of the file" doc:"keys that are taken; wanted with command"`
	Files        map[string]string           `yaml:"files" doc:"file whose content is the value, by key"`
	Command      commandFile                 `yaml:"command" doc:"command that prints lines NAME=value, as a client of a vault does; runs when kdev applies or compares with the cluster; a string is given to sh -c"`
	Generate     []string                    `yaml:"generate" doc:"keys whose value is made up once in each cluster, and kept there"`
	Only         []string                    `yaml:"only" check:"label" default:"every environment" doc:"environments in which values are made up, or that have it from elsewhere"`
	External     bool                        `yaml:"external" doc:"somebody else makes it, perhaps later: it is not looked for"`
	Type         string                      `yaml:"type" default:"Opaque" doc:"type of the Secret"`
	Environments map[string]secretValuesFile `yaml:"environments" keys:"label" doc:"where else kdev makes it, and from what"`
}

type secretValuesFile struct {
	FromEnvFile string            `yaml:"fromEnvFile" check:"inside" doc:"file with lines NAME=value"`
	Keys        []string          `yaml:"keys" default:"all of the file" doc:"keys that are taken; wanted with command"`
	Files       map[string]string `yaml:"files" doc:"file whose content is the value, by key"`
	Command     commandFile       `yaml:"command" doc:"command that prints lines NAME=value"`
}

// A storeKind is something that kdev makes for services that need it.
type storeKind struct{ image, version, storage, env string }

// storeKinds is never written to after initialisation.
var storeKinds = map[string]storeKind{
	"postgres": {"postgres", "17", "1Gi", "DATABASE_URL"},
	"redis":    {"redis", "7", "1Gi", "REDIS_URL"},
}

// StoreKinds are the names of what kdev makes for services that need it.
func StoreKinds() []string { return slices.Sorted(maps.Keys(storeKinds)) }
