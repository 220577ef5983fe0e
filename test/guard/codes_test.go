package guard

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each code of a problem has a line in docs/errors, and no line there speaks
// of a code that is gone.
func TestErrorCodesAreDocumented(t *testing.T) {
	used := map[string]string{}  // code of a problem -> a place that uses it
	written := map[string]bool{} // every string; notices have codes too, which a page may explain
	for _, p := range own(t) {
		// hack and test speak to contributors, who have the source.
		if below(p.rel(), "hack") || below(p.rel(), "test") {
			continue
		}
		files := parse(t, p)
		for code, at := range codesOf(t, p, files) {
			used[code] = at
		}
		for _, f := range files.asts {
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil {
						written[s] = true
					}
				}
				return true
			})
		}
	}
	if len(used) == 0 {
		t.Fatal("no codes found")
	}
	documented := map[string]string{}
	files, err := filepath.Glob(filepath.Join(root, "docs", "errors", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: .")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range entry.FindAllSubmatch(text, -1) {
			code := string(m[1])
			// Several packages may report one code, each with its page.
			if documented[code] == f {
				t.Errorf("%s is documented twice in %s", code, filepath.Base(f))
			}
			documented[code] = f
		}
	}
	var prefixes []string
	for code, at := range used {
		if strings.HasSuffix(code, "-") { // "sync-" + what the agent said: one entry at least
			prefixes = append(prefixes, code)
			if !slices.ContainsFunc(slices.Collect(maps.Keys(documented)), func(d string) bool { return strings.HasPrefix(d, code) }) {
				t.Errorf("%s: no code that begins with %s has an entry in docs/errors", at, code)
			}
			continue
		}
		if documented[code] == "" {
			t.Errorf("%s: %s has no entry in docs/errors", at, code)
		}
	}
	for code, f := range documented {
		made := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(code, p) })
		if !written[code] && !made {
			t.Errorf("docs/errors/%s explains %s, which nothing reports", filepath.Base(f), code)
		}
	}
}

type sources struct {
	fset *token.FileSet
	asts []*ast.File
}

func parse(t *testing.T, p pkg) sources {
	t.Helper()
	s := sources{fset: token.NewFileSet()}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.asts = append(s.asts, f)
	}
	return s
}

// codesOf finds the codes that a package gives to a problem.Problem: the Code
// of a literal, what is assigned to a field Code, and what is handed to a
// parameter named code of a function that makes a Problem. Of a code that is
// made up at run time the beginning has to be written out, up to a dash.
func codesOf(t *testing.T, p pkg, src sources) map[string]string {
	t.Helper()
	fset, files := src.fset, src.asts
	constants := stringConstants(files)
	parameters := codeParameters(files)
	codes := map[string]string{}
	add := func(e ast.Expr) {
		at := fset.Position(e.Pos())
		where := filepath.Join(p.rel(), filepath.Base(at.Filename)) + ":" + strconv.Itoa(at.Line)
		switch e := e.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(e.Value); err == nil {
				codes[s] = where
			}
		case *ast.Ident:
			if s, ok := constants[e.Name]; ok {
				codes[s] = where
			} else if e.Name != "code" {
				t.Errorf("%s: the code is in variable %s; write it out, or name the variable code and take it as a parameter", where, e.Name)
			}
		case *ast.SelectorExpr: // the code of another problem, passed on
		case *ast.BinaryExpr:
			if lit, ok := e.X.(*ast.BasicLit); ok && e.Op == token.ADD {
				if s, err := strconv.Unquote(lit.Value); err == nil && strings.HasSuffix(s, "-") {
					codes[s] = where
					return
				}
			}
			t.Errorf("%s: the code of a problem is computed", where)
		default:
			t.Errorf("%s: the code of a problem is computed", where)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if !isProblem(n.Type) {
					return true
				}
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && isIdent(kv.Key, "Code") {
						add(kv.Value)
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if sel, ok := left.(*ast.SelectorExpr); ok && sel.Sel.Name == "Code" && i < len(n.Rhs) {
						if lit, ok := n.Rhs[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
							add(lit)
						}
					}
				}
			case *ast.CallExpr:
				if i, ok := parameters[callee(n)]; ok && i < len(n.Args) {
					add(n.Args[i])
				}
			}
			return true
		})
	}
	return codes
}

func isProblem(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	return ok && isIdent(s.X, "problem") && s.Sel.Name == "Problem"
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func stringConstants(files []*ast.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok || d.Tok != token.CONST {
				return true
			}
			for _, spec := range d.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if i >= len(v.Values) {
						continue
					}
					if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
						if s, err := strconv.Unquote(lit.Value); err == nil {
							out[name.Name] = s
						}
					}
				}
			}
			return true
		})
	}
	return out
}

// codeParameters gives the functions that take a parameter named code, and
// which of their parameters that is. Only functions that make a Problem count:
// an exit code or a status code is another thing.
func codeParameters(files []*ast.File) map[string]int {
	out := map[string]int{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}
			i := 0
			for _, field := range fn.Type.Params.List {
				for _, name := range field.Names {
					if name.Name == "code" && paramIsString(fn, field) {
						out[fn.Name.Name] = i
					}
					i++
				}
			}
		}
	}
	return out
}

func paramIsString(fn *ast.FuncDecl, f *ast.Field) bool {
	makes := false
	ast.Inspect(fn, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok && isProblem(c.Type) {
			makes = true
		}
		return true
	})
	return isIdent(f.Type, "string") && makes
}
