package deploy_test

import (
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// No pod runs as root, writes to its own root, has a capability or a way to the cluster's API, or takes what it likes.
func TestPodsHaveFewRights(t *testing.T) {
	onEachOverlay(t, func(t *testing.T, m manifests) {
		account := one[*core.ServiceAccount](t, m, "pulsevault")
		for name, pod := range m.pods() {
			c, s := container(t, pod), pod.Spec.SecurityContext
			if s == nil || c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
				t.Errorf("%s says nothing about its rights", name)
				continue
			}
			own := c.SecurityContext
			for what, right := range map[string]bool{
				"not root":             is(s.RunAsNonRoot, true) && s.RunAsUser != nil && *s.RunAsUser > 0,
				"seccomp":              s.SeccompProfile != nil && s.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
				"no new privileges":    is(own.AllowPrivilegeEscalation, false) && own.Privileged == nil,
				"read-only root":       is(own.ReadOnlyRootFilesystem, true),
				"no capability":        len(own.Capabilities.Add) == 0 && len(own.Capabilities.Drop) == 1 && own.Capabilities.Drop[0] == "ALL",
				"no token":             is(pod.Spec.AutomountServiceAccountToken, false) || pod.Spec.ServiceAccountName == account.Name && is(account.AutomountServiceAccountToken, false),
				"no network of a host": !pod.Spec.HostNetwork && !pod.Spec.HostPID && !pod.Spec.HostIPC,
				"no variables that the cluster makes up, such as REDIS_PORT": is(pod.Spec.EnableServiceLinks, false),
				"limits": !c.Resources.Limits.Memory().IsZero() && !c.Resources.Limits.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(),
			} {
				if !right {
					t.Errorf("%s: %s", name, what)
				}
			}
		}
		enforced := one[*core.Namespace](t, m, "pulsevault").Labels["pod-security.kubernetes.io/enforce"]
		if enforced != "restricted" {
			t.Errorf("the namespace enforces %q", enforced)
		}
	})
}

func is(b *bool, want bool) bool { return b != nil && *b == want }

// Each image says its version, and is that of compose where compose has it.
func TestImagesArePinned(t *testing.T) {
	compose := composeImages(t)
	onEachOverlay(t, func(t *testing.T, m manifests) {
		for name, pod := range m.pods() {
			image := container(t, pod).Image
			base, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
			if tag == "" || tag == "latest" {
				t.Errorf("%s: %s names no version", name, image)
			}
			if want, ok := compose[name]; ok && !strings.HasPrefix(base, "pulsevault-") && want != image {
				t.Errorf("%s: %s, and compose has %s", name, image, want)
			}
		}
	})
}

// Whatever selects pods selects some, and what names a volume or a file of settings finds it.
func TestNamesLeadSomewhere(t *testing.T) {
	onEachOverlay(t, func(t *testing.T, m manifests) {
		pods := m.pods()
		for _, d := range all[*apps.Deployment](m) {
			selects(t, d.Name, d.Spec.Selector, map[string]core.PodTemplateSpec{d.Name: d.Spec.Template})
		}
		for _, s := range all[*apps.StatefulSet](m) {
			selects(t, s.Name, s.Spec.Selector, map[string]core.PodTemplateSpec{s.Name: s.Spec.Template})
			one[*core.Service](t, m, s.Spec.ServiceName)
		}
		for _, b := range all[*policy.PodDisruptionBudget](m) {
			selects(t, b.Name, b.Spec.Selector, pods)
		}
		for _, s := range all[*core.Service](m) {
			chosen := selects(t, s.Name, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, pods)
			for _, pod := range chosen {
				for _, p := range s.Spec.Ports {
					if port(t, pod, p.TargetPort) != p.Port {
						t.Errorf("Service %s: port %d is not that of its pods", s.Name, p.Port)
					}
				}
			}
		}
		for name, pod := range pods {
			mounted(t, m, name, pod)
		}
	})
}

// selects returns the pods that a selector chooses, of which there must be some.
func selects(t *testing.T, name string, s *meta.LabelSelector, pods map[string]core.PodTemplateSpec) []core.PodTemplateSpec {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	var chosen []core.PodTemplateSpec
	for _, pod := range pods {
		if selector.Matches(labels.Set(pod.Labels)) {
			chosen = append(chosen, pod)
		}
	}
	if len(chosen) == 0 {
		t.Errorf("%s selects no pod by %v", name, selector)
	}
	return chosen
}

// port is the number of a pod's port.
func port(t *testing.T, pod core.PodTemplateSpec, p intstr.IntOrString) int32 {
	t.Helper()
	for _, own := range container(t, pod).Ports {
		if own.Name == p.StrVal || own.ContainerPort == p.IntVal {
			return own.ContainerPort
		}
	}
	t.Errorf("%v has no port %s", pod.Labels, p.String())
	return 0
}

// mounted fails on a mount without a volume, and on a volume whose source is nowhere.
func mounted(t *testing.T, m manifests, name string, pod core.PodTemplateSpec) {
	t.Helper()
	volumes := map[string]bool{}
	for _, s := range all[*apps.StatefulSet](m) {
		for _, claim := range s.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = s.Name == name
		}
	}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.PersistentVolumeClaim != nil {
			claim := one[*core.PersistentVolumeClaim](t, m, v.PersistentVolumeClaim.ClaimName)
			if len(claim.Spec.AccessModes) != 1 || claim.Spec.AccessModes[0] != core.ReadWriteMany {
				t.Errorf("%s is for %v: pods on several machines need it at once", claim.Name, claim.Spec.AccessModes)
			}
		}
		if v.Projected != nil {
			for _, source := range v.Projected.Sources {
				config := one[*core.ConfigMap](t, m, source.ConfigMap.Name)
				for _, item := range source.ConfigMap.Items {
					if config.Data[item.Key] == "" {
						t.Errorf("%s has no %s", config.Name, item.Key)
					}
				}
			}
		}
	}
	for _, mount := range container(t, pod).VolumeMounts {
		if !volumes[mount.Name] {
			t.Errorf("%s mounts %s, and there is no such volume", name, mount.Name)
		}
	}
}
