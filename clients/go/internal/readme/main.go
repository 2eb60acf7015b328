// Command readme runs the code of README.md against a server that `jeton dev` started:
//
//	scripts/with-dev go -C clients/go run ./internal/readme
//
// Only addresses differ from what stands there.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed around.go.txt
var around string

var block = regexp.MustCompile("(?s)```go\n(.*?)```")

func main() {
	if err := run(); err != nil {
		log.Fatal("README.md of the Go client: ", err)
	}
}

func run() error {
	text, err := os.ReadFile(os.Getenv("DEV_JSON"))
	if err != nil {
		return err
	}
	var dev struct {
		Public  string            `json:"public"`
		Clients map[string]string `json:"clients"`
	}
	if err := json.Unmarshal(text, &dev); err != nil {
		return err
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return err
	}
	if err := os.Setenv("JETON_API_KEY", dev.Clients["dev-service"]); err != nil {
		return err
	}
	here := strings.NewReplacer("127.0.0.1:7070", dev.Public)
	var programs, tests, parts []string
	for _, found := range block.FindAllStringSubmatch(here.Replace(string(readme)), -1) {
		switch code := found[1]; {
		case strings.HasPrefix(code, "package main"):
			programs = append(programs, code)
		case strings.HasPrefix(code, "func Test"):
			tests = append(tests, code)
		default:
			parts = append(parts, code)
		}
	}
	if len(programs) != 1 || len(tests) != 1 || len(parts) != 3 {
		return fmt.Errorf("it has %d programs, %d tests and %d other parts", len(programs), len(tests), len(parts))
	}
	told, err := execute(programs[0], "shown/main.go", "run")
	if err != nil {
		return err
	}
	if told != "true svc:billing\n" {
		return fmt.Errorf("the first program prints %q", told)
	}
	whole := here.Replace(around)
	for i, part := range parts {
		whole = strings.Replace(whole, fmt.Sprintf("\t// part %d\n", i+1), part, 1)
	}
	if told, err = execute(whole, "shown/main.go", "run"); err != nil {
		return err
	}
	// The maximum is that of the built-in policy.
	if !strings.HasPrefix(told, "at most ") || !strings.HasSuffix(told, "\nall parts work\n") {
		return fmt.Errorf("the parts print %q", told)
	}
	imports := "package main\n\nimport (\n\t\"testing\"\n\t\"time\"\n\n\t\"go.jeton.dev/jeton\"\n\t\"go.jeton.dev/jeton/jetontest\"\n)\n\n"
	if _, err = execute(imports+tests[0], "readme_test.go", "test"); err != nil {
		return err
	}
	fmt.Println("ok  README.md of the Go client: 5 blocks")
	return nil
}

// execute runs a file as if it stood in this module: below the directory of this file, where it is not.
func execute(code, name, verb string) (string, error) {
	directory, err := os.MkdirTemp("", "jeton-readme-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(directory)
	file, overlay := filepath.Join(directory, "code.go"), filepath.Join(directory, "overlay.json")
	module, err := os.Getwd()
	if err != nil {
		return "", err
	}
	seen := filepath.Join(module, "internal", "readme", name)
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {seen: file}})
	if err != nil {
		return "", err
	}
	for path, text := range map[string][]byte{file: []byte(code), overlay: replaced} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return "", err
		}
	}
	command := exec.Command("go", verb, "-overlay", overlay, filepath.Dir(seen))
	var told, failed strings.Builder
	command.Stdout, command.Stderr = &told, &failed
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%w: %s%s\n%s", err, told.String(), failed.String(), code)
	}
	return told.String(), nil
}
