package auth_test

import (
	"testing"

	"pulsevault/pkg/auth"
)

// The table, written out once more by hand: -, own or all, for every action and role.
func TestTable(t *testing.T) {
	want := map[auth.Action]string{ // uploader, viewer, service, admin
		auth.Upload:     "own - all all",
		auth.Play:       "own all all all",
		auth.ListVideos: "own all all all",
		auth.ReadVideo:  "own all all all",
		auth.Delete:     "- - - all",
		auth.Emergency:  "all all all all",
		auth.ActFor:     "- - all -",
	}
	for _, a := range auth.Actions {
		got := ""
		for _, r := range auth.Roles {
			got += reach(auth.Policy{}, auth.Caller{Name: "ann", Roles: []auth.Role{r}}, a) + " "
		}
		if got != want[a]+" " {
			t.Errorf("%s: %s, want %s", a, got, want[a])
		}
		if reach(auth.Policy{}, auth.Caller{Name: "ann"}, a) != "-" || reach(auth.Policy{}, auth.Caller{}, a) != "-" {
			t.Errorf("%s: a caller without a role may do it", a)
		}
		if reach(auth.Policy{}, auth.Anybody, a) != "all" {
			t.Errorf("%s: refused where nobody is asked who they are", a)
		}
	}
}

func TestOwnersMayDeleteWhereTheSettingAllows(t *testing.T) {
	ann := auth.Caller{Name: "ann", Roles: []auth.Role{auth.Uploader}}
	if got := reach(auth.Policy{OwnerDelete: true}, ann, auth.Delete); got != "own" {
		t.Errorf("with OwnerDelete an uploader deletes %s", got)
	}
	viewer := auth.Caller{Name: "ann", Roles: []auth.Role{auth.Viewer}}
	if got := reach(auth.Policy{OwnerDelete: true}, viewer, auth.Delete); got != "-" {
		t.Errorf("with OwnerDelete a viewer deletes %s", got)
	}
}

func TestTheFurthestOfSeveralRolesCounts(t *testing.T) {
	c := auth.Caller{Name: "ann", Roles: []auth.Role{auth.Uploader, auth.Viewer}}
	if got := reach(auth.Policy{}, c, auth.Play); got != "all" {
		t.Errorf("an uploader who is a viewer plays %s", got)
	}
}

// reach asks the policy in its three ways, which must agree.
func reach(p auth.Policy, c auth.Caller, a auth.Action) string {
	nobodys, others, mine := p.May(c, a, ""), p.May(c, a, "bob"), p.May(c, a, "ann")
	all, some := p.MayAll(c, a), p.MayAny(c, a)
	switch {
	case nobodys && others && mine && all && some:
		return "all"
	case !nobodys && !others && mine && !all && some:
		return "own"
	case !nobodys && !others && !mine && !all && !some:
		return "-"
	}
	return "disagreeing"
}
