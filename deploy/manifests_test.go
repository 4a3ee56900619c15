// Package deploy_test holds what is written for clusters against the types of Kubernetes and KEDA, and against what the code
// takes and answers. It is a module of its own, so that the programs need none of these libraries.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// overlays are what people apply.
var overlays = []string{"volume", "bucket"}

// onEachOverlay runs a test on all objects of each.
func onEachOverlay(t *testing.T, test func(t *testing.T, m manifests)) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) { test(t, read(t, overlay)) })
	}
}

// manifests are the objects that an overlay makes.
type manifests []meta.Object

// read builds an overlay as `kubectl apply -k` does, and reads each object as the type that it says it is. A field that the type
// does not have, one that is there twice, and a type that nobody knows are errors, as the cluster would ignore or refuse them.
func read(t *testing.T, overlay string) manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), keda.AddToScheme(known)); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var objects manifests
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	buffer := make([]byte, len(text))
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(buffer[:n], nil, nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, buffer[:n])
		}
		objects = append(objects, object.(meta.Object))
	}
}

// all are the objects of one type.
func all[T meta.Object](m manifests) []T {
	var found []T
	for _, o := range m {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// one is the object of a type that has a name.
func one[T meta.Object](t *testing.T, m manifests, name string) T {
	t.Helper()
	for _, o := range all[T](m) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("there is no %T that is called %s", none, name)
	return none
}

// pods are the templates of all pods, by the name of what makes them.
func (m manifests) pods() map[string]core.PodTemplateSpec {
	pods := map[string]core.PodTemplateSpec{}
	for _, d := range all[*apps.Deployment](m) {
		pods[d.Name] = d.Spec.Template
	}
	for _, s := range all[*apps.StatefulSet](m) {
		pods[s.Name] = s.Spec.Template
	}
	return pods
}

// container is the one that a pod has.
func container(t *testing.T, pod core.PodTemplateSpec) core.Container {
	t.Helper()
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.InitContainers) > 0 {
		t.Fatalf("%v: a pod with one container was expected", pod.Labels)
	}
	return pod.Spec.Containers[0]
}

// Everything is read, and is where it belongs.
func TestOverlaysAreWhatKubernetesTakes(t *testing.T) {
	onEachOverlay(t, func(t *testing.T, m manifests) {
		names := map[string]bool{}
		for name := range m.pods() {
			names[name] = true
		}
		for _, name := range []string{"pulsevault", "transcode-worker", "redis", "prometheus"} {
			if !names[name] {
				t.Errorf("%s is missing", name)
			}
		}
		for _, o := range m {
			_, isNamespace := o.(*core.Namespace)
			if !isNamespace && o.GetNamespace() != "pulsevault" {
				t.Errorf("%T %s is in the namespace %q", o, o.GetName(), o.GetNamespace())
			}
			if _, secret := o.(*core.Secret); secret {
				t.Errorf("the Secret %s: no secret may stand in a file", o.GetName())
			}
		}
	})
}
