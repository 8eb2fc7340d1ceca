package rest

import (
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/rest/provision"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What the keys of a body have to do with each other, as far as a JSON schema can say it. Versions it can't.

// What is there: not empty, and no null.
var (
	someText = schema{"type": "string", "minLength": 1}
	someList = schema{"type": "array", "minItems": 1}
)

// having is what a body is that has a key with such a value.
func having(key string, value schema) schema {
	return schema{"required": []string{key}, "properties": schema{key: value}}
}

// where says what holds for a body that is such a one.
func where(is, then schema) schema { return schema{"if": is, "then": then} }

// provisionRules are what goes with which target.
func provisionRules() []schema {
	targets := func(verbs ...state.Event) (out []string) {
		for _, v := range api.Verbs() {
			if slices.Contains(verbs, provision.VerbEvents[v.Target]) {
				out = append(out, v.Target)
			}
		}
		return out
	}
	to := func(verb state.Event) schema { return having("target", oneOf(targets(verb)...)) }
	var out []schema
	for _, name := range slices.Sorted(maps.Keys(provision.ArgumentVerbs)) {
		given := schema{"not": schema{"type": "null"}}
		switch {
		case name == "configdrive": // an empty one is as good as none
			given = schema{"anyOf": []schema{someText, {"type": "object", "minProperties": 1}}}
		case name == "runbook": // so is an empty name
			given = someText
		case strings.HasSuffix(name, "_steps"):
			given = someList
		}
		out = append(out, where(having(name, given), having("target", oneOf(targets(provision.ArgumentVerbs[name]...)...))))
	}
	book := having("runbook", someText)
	return append(out,
		where(to(state.VerbClean), schema{"oneOf": []schema{having("clean_steps", someList), book}}),
		where(to(state.VerbService), schema{"oneOf": []schema{having("service_steps", someList), book}}),
		where(to(state.VerbRescue), having("rescue_password", schema{"type": "string", "pattern": `\S`})))
}

// stepsWith is the list of steps that a verb or a record takes, each with what it must have; rank is the key that orders them.
func stepsWith(interfaces []string, rank string, needs ...string) schema {
	args := schema{"type": []string{"object", "null"}}
	if slices.Contains(needs, "args") {
		args = anObject
	}
	return listed(keyed(append([]string{"interface", "step"}, needs...), schema{"interface": oneOf(interfaces...), "step": someText, "args": args, rank: aNumber(0)}))
}

// stepsOnChildren is stepsWith for lists whose steps may run on the nodes below the node.
func stepsOnChildren(interfaces []string) schema {
	s := stepsWith(interfaces, "order")
	properties := s["items"].(schema)["properties"].(schema)
	properties["execute_on_child_nodes"] = schema{"type": "boolean"}
	properties["limit_child_node_execution"] = listed(schema{"description": "the UUID of a node below the node"})
	return s
}

// aNumber is a whole number, also as digits.
func aNumber(from int) schema {
	return schema{"type": []string{"integer", "string"}, "minimum": from, "pattern": "^[0-9]+$"}
}

// recordSteps is what the steps of a template or runbook are; was says what they are for, and their ranks may be texts.
func recordSteps(was any, rank string, needs ...string) schema {
	s := stepsWith(drivers.StepKinds, rank, needs...)
	properties := s["items"].(schema)["properties"].(schema)
	properties["args"], properties[rank] = anObject, aNumber(0)
	s["minItems"], s["description"] = 1, was.(schema)["description"]
	return s
}

// nodeRules: a reason is one of a flag that is set.
func nodeRules() []schema {
	return []schema{where(having("retired_reason", someText), having("retired", schema{"not": schema{"enum": []any{false, nil}}}))}
}

// recordRules puts what a kind's fields have to do with each other into the body that makes one.
func recordRules(kind conductor.Kind, made schema) {
	properties := made["properties"].(schema)
	switch kind {
	case conductor.KindPort:
		made["oneOf"] = []schema{{"required": []string{"node_uuid"}}, {"required": []string{"node_ident"}}}
	case conductor.KindTemplate:
		properties["steps"] = recordSteps(properties["steps"], "priority", "args", "priority")
	case conductor.KindRunbook:
		properties["steps"] = recordSteps(properties["steps"], "order", "order")
		made["allOf"] = []schema{where(having("public", schema{"enum": []any{true}}), schema{"properties": schema{"owner": schema{"maxLength": 0}}})}
	}
}
