package cli_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/rest/login"
)

// rolesOfThePage is the roles file that docs/howto/projects.md shows.
const rolesOfThePage = "admin:admin\nann:operator:blue\nole:observer\n"

// usersOfThePage are those of the page; a password is the name and -secret.
func usersOfThePage() login.Authenticator {
	var users strings.Builder
	for _, name := range []string{"admin", "ann", "ole"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(name+"-secret"), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		users.WriteString(name + ":" + string(hash) + "\n")
	}
	auth, err := login.NewBasic(strings.NewReader(users.String()), strings.NewReader(rolesOfThePage), time.Now)
	if err != nil {
		panic(err)
	}
	return auth
}

// The page's roles file is the one that its commands are run with.
func TestThePageOfUsersShowsItsRoles(t *testing.T) {
	text, err := os.ReadFile("../../docs/howto/projects.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```text\n"+rolesOfThePage+"```\n") {
		t.Errorf("the page does not show this roles file:\n%s", rolesOfThePage)
	}
}

// usersPage is a row of pages.
func usersPage() page {
	const admin, ann = " --user admin --password-file first-password", " --user ann --password-file ann.txt"
	return page{
		world:  world{auth: usersOfThePage()},
		before: []string{"node create --name n1 --driver fake-hardware" + admin, "node create --name n2 --driver fake-hardware" + admin, "node show n1" + ann},
		files:  map[string]string{"first-password": "admin-secret\n", "ann.txt": "ann-secret\n"},
		after:  []string{"node show n1 --fields name" + ann, "node set n1 --extra k=v --user ole --password-file ann.txt"},
		answers: map[string][]string{
			"node list" + admin:                                          {`^n1 `, `^n2 `},
			"node show n1" + ann:                                         {`could not be found`, `exit 1`},
			"node set n1 --owner blue" + admin:                           {`^node n1 is changed$`},
			"node list --fields name,owner" + ann:                        {`\A.*\nn1 +blue\n\z`},
			"node show n2" + ann:                                         {`could not be found`, `exit 1`},
			"node create --name n3 --driver fake-hardware" + ann:         {`node\.create`, `docs/reference/access.md`, `exit 1`},
			"usage list" + ann:                                           {`\A.*\nblue .* 1 +0 +0 +0\n\z`},
			"node show n1 --fields name" + ann:                           {`^name +n1$`},
			"node set n1 --extra k=v --user ole --password-file ann.txt": {`request.unauthenticated`, `exit 1`},
		},
	}
}
