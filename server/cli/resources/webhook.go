package resources

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/bessemer-metal/bessemer/server/cli/command"
	"github.com/bessemer-metal/bessemer/server/cli/input"
	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/resource"
)

// webhookCommands are the verbs of webhooks: an existing one is changed by PUT, and its secret never stands on the command
// line.
func webhookCommands(c *command.Run, r resource.Resource) []*cobra.Command {
	const (
		urlDoc    = "where deliveries go: below one of the server's --webhook-origin"
		secretDoc = "file that holds the secret, 16 to 255 bytes, by which deliveries are signed; - is the standard input"
	)
	create := command.Exactly("create", 0)
	create.Short = "Make one"
	create.Long = `Makes a webhook: the server POSTs what changes to the URL, in order and at least once. Each delivery is signed with the
secret: the header Bessemer-Signature is t=SECONDS,v1=HEX, an HMAC-SHA256 over SECONDS, a dot and the body. The secret
is not shown again. The server calls only origins that it was started with (bessemer serve --webhook-origin).`
	create.Example = "  openssl rand -hex 32 > secret\n" + r.Example
	var at, file, project string
	create.Flags().StringVar(&at, "url", "", urlDoc)
	create.Flags().StringVar(&file, "secret-file", "", secretDoc)
	create.Flags().StringVar(&project, "project", "", "tell it only of this project's machines")
	create.RunE = c.With(func(ctx context.Context, a *client.Client, _ []string) error {
		if at == "" || file == "" {
			return input.Usage("give --url and --secret-file")
		}
		secret, err := c.Secret(file, "--secret-file")
		if err != nil {
			return err
		}
		body := map[string]any{"url": at, "secret": secret}
		if project != "" {
			body["project"] = project
		}
		o, err := a.Send(ctx, http.MethodPost, client.Path(r.Path...), nil, body)
		if err != nil {
			return err
		}
		return c.Emit(o, func(w io.Writer) {
			fmt.Fprintf(w, "webhook %s is made; bessemer webhook show %s says how it fares\n", output.Cell(o["uuid"]), output.Cell(o["uuid"]))
		})
	})
	set := command.Exactly("set ID", 1)
	set.Short = "Change the URL or the secret of one"
	set.Example = "  bessemer webhook set 5d1f8f5e-6f0e-4c2d-8d5c-6a8c6f6a8f01 --secret-file secret"
	var newAt, newFile string
	set.Flags().StringVar(&newAt, "url", "", urlDoc)
	set.Flags().StringVar(&newFile, "secret-file", "", secretDoc)
	set.RunE = c.With(func(ctx context.Context, a *client.Client, args []string) error {
		body := map[string]any{}
		if newAt != "" {
			body["url"] = newAt
		}
		if newFile != "" {
			secret, err := c.Secret(newFile, "--secret-file")
			if err != nil {
				return err
			}
			body["secret"] = secret
		}
		if len(body) == 0 {
			return input.Usage("nothing to change is given")
		}
		o, err := a.Send(ctx, http.MethodPut, client.Path(append(r.Path[:len(r.Path):len(r.Path)], args[0])...), nil, body)
		if err != nil {
			return err
		}
		return c.Emit(o, func(w io.Writer) { fmt.Fprintf(w, "webhook %s is changed\n", args[0]) })
	})
	return []*cobra.Command{showCommand(c, r), create, set, deleteCommand(c, r)}
}
