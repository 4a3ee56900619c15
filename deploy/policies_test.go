package deploy_test

import (
	"slices"
	"testing"

	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// matches reports whether a selector chooses something by its labels. None chooses nothing.
func matches(t *testing.T, s *meta.LabelSelector, has map[string]string) bool {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(has))
}

// about are the policies of one direction that are about a pod.
func about(t *testing.T, m manifests, pod core.PodTemplateSpec, direction network.PolicyType) []*network.NetworkPolicy {
	t.Helper()
	return slices.DeleteFunc(all[*network.NetworkPolicy](m), func(p *network.NetworkPolicy) bool {
		return !matches(t, &p.Spec.PodSelector, pod.Labels) || !slices.Contains(p.Spec.PolicyTypes, direction)
	})
}

// egress reports whether a pod may begin to speak with another one's port.
func egress(t *testing.T, m manifests, from, to core.PodTemplateSpec, p core.ContainerPort) bool {
	t.Helper()
	policies := about(t, m, from, network.PolicyTypeEgress)
	for _, policy := range policies {
		for _, rule := range policy.Spec.Egress {
			if peers(t, rule.To, to) && ports(rule.Ports, p) {
				return true
			}
		}
	}
	return len(policies) == 0
}

// entrance reports whether a pod's port may be spoken to by another one.
func entrance(t *testing.T, m manifests, from, to core.PodTemplateSpec, p core.ContainerPort) bool {
	t.Helper()
	policies := about(t, m, to, network.PolicyTypeIngress)
	for _, policy := range policies {
		for _, rule := range policy.Spec.Ingress {
			if peers(t, rule.From, from) && ports(rule.Ports, p) {
				return true
			}
		}
	}
	return len(policies) == 0
}

// fromOutside reports whether a pod lets in whoever is in a namespace of these labels.
func fromOutside(t *testing.T, m manifests, pod core.PodTemplateSpec, namespace map[string]string) bool {
	t.Helper()
	for _, policy := range about(t, m, pod, network.PolicyTypeIngress) {
		for _, rule := range policy.Spec.Ingress {
			if slices.ContainsFunc(rule.From, func(peer network.NetworkPolicyPeer) bool {
				return peer.NamespaceSelector != nil && matches(t, peer.NamespaceSelector, namespace)
			}) {
				return true
			}
		}
	}
	return false
}

// peers reports whether a pod of this namespace is among those named; whoever names nobody means everybody.
func peers(t *testing.T, named []network.NetworkPolicyPeer, pod core.PodTemplateSpec) bool {
	t.Helper()
	for _, peer := range named {
		if peer.NamespaceSelector == nil && peer.PodSelector != nil && matches(t, peer.PodSelector, pod.Labels) {
			return true
		}
	}
	return len(named) == 0
}

func ports(named []network.NetworkPolicyPort, p core.ContainerPort) bool {
	for _, port := range named {
		if port.Port != nil && (port.Port.StrVal == p.Name || port.Port.IntVal == p.ContainerPort) {
			return true
		}
	}
	return len(named) == 0
}
