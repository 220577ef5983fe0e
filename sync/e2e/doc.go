// Package e2e tests sync on a real cluster: agents in images of every kind,
// dialled through the API server. It holds nothing but tests, behind the tag e2e,
// and the application that runs in the containers (testapp).
package e2e
