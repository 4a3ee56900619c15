package deploy_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"

	"pulsevault/pkg/app"
	"pulsevault/pkg/queue/redisqueue"
)

// Probes ask for what the process answers, a new pod waits for all that it depends on, and one that plays without Redis stays in.
func TestProbesAskForWhatIsThere(t *testing.T) {
	functions := map[string][]string{"pulsevault": app.Server, "transcode-worker": {app.Health}}
	onEachOverlay(t, func(t *testing.T, m manifests) {
		for name, answers := range functions {
			c := container(t, m.pods()[name])
			if c.StartupProbe == nil || c.LivenessProbe == nil || c.StartupProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" {
				t.Errorf("%s begins with %+v and goes on with %+v", name, c.StartupProbe, c.LivenessProbe)
			}
			for _, probe := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
				if probe == nil {
					continue
				}
				port(t, m.pods()[name], probe.HTTPGet.Port)
				if !slices.ContainsFunc(app.Routes(), func(r app.Route) bool {
					return r.Path == probe.HTTPGet.Path && slices.Contains(answers, r.Function)
				}) {
					t.Errorf("%s does not answer to %s", name, probe.HTTPGet.Path)
				}
			}
		}
	})
}

// Nobody is killed before it has ended by itself, and an update takes nothing away before it has something better.
func TestPodsEndInPeace(t *testing.T) {
	takes := map[string]time.Duration{"pulsevault": app.ShutdownTime, "transcode-worker": redisqueue.DefaultPatience + app.ShutdownTime}
	onEachOverlay(t, func(t *testing.T, m manifests) {
		for name, shutdown := range takes {
			d := one[*apps.Deployment](t, m, name)
			if hook := container(t, d.Spec.Template).Lifecycle; hook != nil {
				shutdown += time.Duration(hook.PreStop.Sleep.Seconds) * time.Second
			} else if name == "pulsevault" {
				t.Error("a pod that ends at once is still sent requests")
			}
			if grace := d.Spec.Template.Spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second < shutdown {
				t.Errorf("%s may take %v to end, and is killed before", name, shutdown)
			}
			if u := d.Spec.Strategy.RollingUpdate; u == nil || u.MaxUnavailable.IntValue() != 0 || u.MaxUnavailable.String() != "0" {
				t.Errorf("%s is updated by %+v", name, u)
			}
		}
		if d := one[*apps.Deployment](t, m, "pulsevault"); d.Spec.Replicas == nil || *d.Spec.Replicas < 2 {
			t.Error("one pulsevault is not there while its machine is emptied")
		}
		if d := one[*apps.Deployment](t, m, "transcode-worker"); d.Spec.Replicas != nil {
			t.Error("to apply the manifests would undo what KEDA has scaled")
		}
	})
}

// All that people ask for is let in, and nothing else is.
func TestIngressLetsInWhatIsForPeople(t *testing.T) {
	onEachOverlay(t, func(t *testing.T, m manifests) {
		ingress := one[*network.Ingress](t, m, "pulsevault")
		for _, r := range app.Routes() {
			want := r.Function != app.Internal && r.Path != "/readyz"
			path := strings.NewReplacer("{", "", "}", "", "+", "").Replace(r.Path)
			if got := letsIn(ingress, path); got != want {
				t.Errorf("%s is let in: %v, want %v", path, got, want)
			}
		}
		for _, path := range []string{"/metrics", "/metrics/redis", "/internal", "/internal/media/authorize", "/else"} {
			if letsIn(ingress, path) {
				t.Errorf("%s is let in", path)
			}
		}
		for _, rule := range ingress.Spec.Rules {
			if !slices.Contains(ingress.Spec.TLS[0].Hosts, rule.Host) || rule.Host == "" {
				t.Errorf("%q has no certificate", rule.Host)
			}
			for _, p := range rule.HTTP.Paths {
				service := one[*core.Service](t, m, p.Backend.Service.Name)
				if !slices.ContainsFunc(service.Spec.Ports, func(own core.ServicePort) bool { return own.Name == p.Backend.Service.Port.Name }) {
					t.Errorf("%s leads to no port of %s", p.Path, service.Name)
				}
			}
		}
	})
}

// letsIn reports whether an Ingress has a way for a path, by the rules of its path types.
func letsIn(ingress *network.Ingress, path string) bool {
	for _, rule := range ingress.Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			prefix := *p.PathType == network.PathTypePrefix && strings.HasPrefix(path, strings.TrimSuffix(p.Path, "/")+"/")
			if p.Path == path || prefix {
				return true
			}
		}
	}
	return false
}

// The policies let through what the programs need of one another, and what people and KEDA need, and nothing else.
func TestNetworkLetsThroughWhatIsNeeded(t *testing.T) {
	needed := []string{
		"pulsevault redis 6379", "transcode-worker redis 6379", "prometheus pulsevault 3000", "prometheus transcode-worker 9090",
	}
	onEachOverlay(t, func(t *testing.T, m manifests) {
		var let []string
		pods := m.pods()
		for from := range pods {
			for to, pod := range pods {
				for _, p := range container(t, pod).Ports {
					if egress(t, m, pods[from], pod, p) && entrance(t, m, pods[from], pod, p) {
						let = append(let, from+" "+to+" "+strconv.Itoa(int(p.ContainerPort)))
					}
				}
			}
		}
		if slices.Sort(let); !slices.Equal(let, slices.Sorted(slices.Values(needed))) {
			t.Errorf("let through are %q, want %q", let, needed)
		}
		for name, labels := range map[string]map[string]string{"pulsevault": {"pulsevault-ingress": "allowed"}, "prometheus": {"kubernetes.io/metadata.name": "keda"}} {
			if !fromOutside(t, m, pods[name], labels) {
				t.Errorf("%s does not let in whoever comes from a namespace of %v", name, labels)
			}
		}
		for _, name := range []string{"redis", "transcode-worker"} {
			if fromOutside(t, m, pods[name], map[string]string{"pulsevault-ingress": "allowed", "kubernetes.io/metadata.name": "keda"}) {
				t.Errorf("%s lets in other namespaces", name)
			}
		}
	})
}
