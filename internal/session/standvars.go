package session

import (
	"slices"
	"strings"
)

// What of a container's environment stays there: what describes the container or
// its image and does not hold here, and what has an interpreter, a linker or a tool
// load code. A program on this machine has these from the shell that it is started
// in; who wants one all the same sets it under `local: {env: …}`.

// ofContainer says whether a variable is of that kind.
func ofContainer(name, value string) bool {
	name = strings.ToUpper(name) // npm_config_…; on Windows case does not count
	switch {
	case slices.Contains(stays, name):
		return true
	case name == "ENV": // a file that shells read, or the name of an environment
		return strings.ContainsAny(value, "/$`")
	case strings.HasPrefix(name, "PYTHON"):
		return !slices.Contains(pythonFlags, name)
	}
	return slices.ContainsFunc(stayPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

var stays = []string{
	// of the machine and whoever is logged in there
	"PATH", "HOME", "HOSTNAME", "PWD", "OLDPWD", "SHLVL", "SHELL", "TERM", "TMPDIR", "TMP", "TEMP", "USER", "LOGNAME", "MAIL", "_", "DISPLAY", "EDITOR", "VISUAL", "PAGER", "LESS", "LESSOPEN", "LESSCLOSE", "BROWSER", "KUBECONFIG",
	// shells
	"BASH_ENV", "SHELLOPTS", "BASHOPTS", "PROMPT_COMMAND", "PS1", "PS4", "IFS", "CDPATH", "ZDOTDIR",
	// the linker and the C library
	"GCONV_PATH", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NLSPATH", "RES_OPTIONS", "PKG_CONFIG_PATH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS",
	// certificates and cryptography, by their place in the image
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES",
	// Node
	"NODE_OPTIONS", "NODE_PATH", "NODE_VERSION", "NODE_REPL_EXTERNAL_MODULE", "YARN_VERSION", "PNPM_HOME",
	// Java
	"JAVA_HOME", "JAVA_VERSION", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS", "JAVA_OPTIONS", "JVM_OPTS", "CLASSPATH", "CATALINA_OPTS", "CATALINA_HOME", "CATALINA_BASE",
	"MAVEN_OPTS", "MAVEN_ARGS", "MAVEN_HOME", "GRADLE_OPTS", "GRADLE_HOME", "GRADLE_USER_HOME", "SBT_OPTS",
	// Go
	"GOPATH", "GOROOT", "GOBIN", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOENV", "GOFLAGS", "GOTOOLCHAIN", "GOTOOLDIR", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE",
	"GOVCS", "GOAUTH", "GOWORK", "GOOS", "GOARCH", "GOAMD64", "GOARM", "GOARM64", "GOEXPERIMENT", "GO111MODULE", "GOCACHEPROG", "GOCOVERDIR", "GOLANG_VERSION",
	// Rust, Perl, Erlang, PHP and others
	"RUSTC", "RUSTC_WRAPPER", "RUSTFLAGS", "RUST_VERSION", "ERL_LIBS", "ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS", "ELIXIR_ERL_OPTIONS", "PHPRC", "COMPOSER_HOME", "VIRTUAL_ENV", "LUA_PATH", "LUA_CPATH", "LUA_INIT",
	// .NET
	"DOTNET_STARTUP_HOOKS", "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "DOTNET_ROOT", "DOTNET_VERSION", "ASPNET_VERSION", "DOTNET_RUNNING_IN_CONTAINER", "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES",
	// git, where it runs something; GIT_COMMIT and the like are the application's
	"GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EXEC_PATH", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_PROXY_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_TEMPLATE_DIR",
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
}

var stayPrefixes = []string{
	"KUBERNETES_", "LD_", "DYLD_", "MALLOC_", "XDG_", "DOCKER_", "SSH_AUTH_", "SSH_ASKPASS", "BASH_FUNC_", "NPM_", "NVM_", "CORECLR_", "COR_PROFILER", "COR_ENABLE_", "CARGO_", "RUSTUP_", "RUBY", "GEM_", "BUNDLE_", "PERL", "PIP_", "CONDA_",
	"PHP_", "GIT_CONFIG",
}

// pythonFlags are switches of the interpreter and nothing else.
var pythonFlags = []string{"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED", "PYTHONFAULTHANDLER", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE"}
