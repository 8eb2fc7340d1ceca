package nodes

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

func (t *Tx) Usage(project string) ([]conductor.Usage, error) {
	used, err := session.Encode("list of states", conductor.UsedStates())
	if err != nil {
		return nil, err
	}
	var out []conductor.Usage
	err = t.Rows(`SELECT project, class, sum(nodes), sum(used), sum(free), sum(lent) FROM (
		SELECT CASE lessee WHEN '' THEN owner ELSE lessee END AS project, resource_class AS class, 1 AS nodes,
			instance_uuid IS NOT NULL OR provision_state IN (SELECT value FROM json_each(?)) AS used,
			provision_state = 'available' AND instance_uuid IS NULL AND NOT maintenance AND NOT retired AS free, 0 AS lent FROM nodes
		UNION ALL SELECT owner, resource_class, 0, 0, 0, 1 FROM nodes WHERE owner <> '' AND lessee NOT IN ('', owner))
		WHERE ? IN ('', project) GROUP BY project, class ORDER BY project, class`, []any{used, session.Text(project)}, func(scan func(...any) error) error {
		var u conductor.Usage
		err := scan(&u.Project, &u.Class, &u.Nodes, &u.Used, &u.Available, &u.Lent)
		out = append(out, u)
		return err
	})
	return out, err
}
