package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// ciReport is the documented form of a report.
type ciReport struct {
	APIVersion  string       `json:"apiVersion"`
	Project     string       `json:"project"`
	Environment string       `json:"environment"`
	Namespace   string       `json:"namespace"`
	Started     time.Time    `json:"started"`
	TookMS      int64        `json:"tookMs"`
	Passed      bool         `json:"passed"`
	ExitCode    int          `json:"exitCode"`
	Steps       []reportStep `json:"steps"`
}

type reportStep struct {
	Name    string           `json:"name"`
	TookMS  int64            `json:"tookMs"`
	Passed  bool             `json:"passed"`
	Problem *problem.Problem `json:"problem,omitempty"`
}

// The part of JUnit's format that every reader knows.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeReport writes how a release went, in the form that the file's name asks for.
func writeReport(file string, r *release, started time.Time, failed error) error {
	report := ciReport{APIVersion: apiVersion, Project: r.p.Name, Environment: r.e.Name, Namespace: r.e.Namespace, Started: started.UTC(),
		TookMS: time.Since(started).Milliseconds(), Passed: failed == nil, Steps: []reportStep{}}
	told := false
	for _, s := range r.steps {
		step := reportStep{Name: s.name, TookMS: s.took.Milliseconds(), Passed: s.problem == nil}
		if s.problem != nil {
			step.Problem, told = s.problem, true
		}
		report.Steps = append(report.Steps, step)
	}
	if failed != nil {
		report.ExitCode = codeOf(failed)
		if !told { // before the first step: no cluster, for one
			report.Steps = append(report.Steps, reportStep{Name: "start", TookMS: report.TookMS, Problem: asProblem(failed, "deploy-failed")})
		}
	}
	var raw []byte
	var err error
	if strings.EqualFold(filepath.Ext(file), ".xml") {
		raw, err = xml.MarshalIndent(junit(&report), "", "  ")
		raw = append([]byte(xml.Header), append(raw, '\n')...)
	} else {
		raw, err = json.MarshalIndent(report, "", "  ")
		raw = append(raw, '\n')
	}
	if err == nil {
		err = os.WriteFile(file, raw, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func junit(r *ciReport) junitSuite {
	seconds := func(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) }
	suite := junitSuite{Name: "kdev ci " + r.Project, Tests: len(r.Steps), Time: seconds(r.TookMS), Stamp: r.Started.Format("2006-01-02T15:04:05")}
	for _, s := range r.Steps {
		c := junitCase{Class: r.Project + "." + r.Environment, Name: s.Name, Time: seconds(s.TookMS)}
		if p := s.Problem; p != nil {
			suite.Failures++
			text := p.Error()
			for _, more := range []string{p.Output, p.Hint} {
				if more != "" {
					text += "\n" + more
				}
			}
			c.Failure = &junitFailure{Type: p.Code, Message: p.Summary, Text: text}
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite
}
