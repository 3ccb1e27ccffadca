package main

import (
	"context"
	"strings"
	"sync"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	wffake "github.com/argoproj/argo-workflows/v3/pkg/client/clientset/versioned/fake"
	"github.com/argoproj/argo-workflows/v3/server/types"
	"github.com/sethvargo/go-limiter"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierr "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

const (
	operator = "argo-token-1" // may get and update workflows
	reader   = "reader-token" // may get them
)

var resource = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "workflows"}

// faults are what the next requests meet.
type faults struct {
	After     int  `json:"after"`     // so many updates meet nothing
	Conflicts int  `json:"conflicts"` // so many updates after them meet a conflict
	Dropped   int  `json:"dropped"`   // so many updates are acknowledged and change nothing
	Limited   bool `json:"limited"`   // the rate limit of the server is used up
}

// cluster is Kubernetes as far as the workflow service sees it: workflows, and who may do what with them.
type cluster struct {
	base *wffake.Clientset
	mu   sync.Mutex
	left faults
}

func newCluster() *cluster {
	return &cluster{base: wffake.NewSimpleClientset()}
}

// put stores a workflow as it is, in place of the one with its name.
func (c *cluster) put(wf *wfv1.Workflow) error {
	err := c.base.Tracker().Create(resource, wf, wf.Namespace)
	if apierr.IsAlreadyExists(err) {
		return c.base.Tracker().Update(resource, wf, wf.Namespace)
	}
	return err
}

func (c *cluster) meet(wanted *faults) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = *wanted
	return nil
}

// clients are those of a bearer of a token: Kubernetes lets them do what the token may.
func (c *cluster) clients(authorization string) *types.Clients {
	token := strings.TrimPrefix(authorization, "Bearer ")
	workflows := &wffake.Clientset{}
	workflows.AddReactor("*", "workflows", func(action ktesting.Action) (bool, runtime.Object, error) {
		return c.refused(action, token)
	})
	workflows.AddReactor("update", "workflows", c.faulty)
	workflows.AddReactor("*", "*", ktesting.ObjectReaction(c.base.Tracker()))
	kubernetes := fake.NewSimpleClientset()
	kubernetes.PrependReactor("create", "selfsubjectaccessreviews", func(ktesting.Action) (bool, runtime.Object, error) {
		allowed := authorizationv1.SubjectAccessReviewStatus{Allowed: token == operator || token == reader}
		return true, &authorizationv1.SelfSubjectAccessReview{Status: allowed}, nil
	})
	return &types.Clients{Workflow: workflows, Kubernetes: kubernetes}
}

// refused answers for a token that may not do it, in the words of Kubernetes.
func (c *cluster) refused(action ktesting.Action, token string) (bool, runtime.Object, error) {
	switch {
	case token == operator || token == reader && action.GetVerb() == "get":
		return false, nil, nil
	case token == reader:
		reason := &forbidden{action.GetVerb(), action.GetNamespace()}
		return true, nil, apierr.NewForbidden(resource.GroupResource(), nameOf(action), reason)
	default:
		return true, nil, apierr.NewUnauthorized("Unauthorized")
	}
}

// faulty meets an update with the faults that are left.
func (c *cluster) faulty(action ktesting.Action) (bool, runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	updated := action.(ktesting.UpdateAction).GetObject()
	if c.left.After > 0 {
		c.left.After--
		return false, nil, nil
	}
	if c.left.Conflicts > 0 {
		c.left.Conflicts--
		changed := &forbidden{"update", action.GetNamespace()}
		return true, nil, apierr.NewConflict(resource.GroupResource(), nameOf(action), changed)
	}
	if c.left.Dropped > 0 {
		c.left.Dropped--
		return true, updated, nil
	}
	return false, nil, nil
}

func nameOf(action ktesting.Action) string {
	switch named := action.(type) {
	case ktesting.GetAction:
		return named.GetName()
	case ktesting.UpdateAction:
		return named.GetObject().(*wfv1.Workflow).Name
	}
	return ""
}

// forbidden is why Kubernetes refuses.
type forbidden struct{ verb, namespace string }

func (f *forbidden) Error() string {
	return `User "system:serviceaccount:jobs:reader" cannot ` + f.verb + ` resource "workflows" in the namespace "` + f.namespace + `"`
}

// limited is the limiter, which lets nothing through while the limit is used up.
func (c *cluster) limited(store limiter.Store) limiter.Store {
	return &exhaustible{store, c}
}

type exhaustible struct {
	limiter.Store
	cluster *cluster
}

func (e *exhaustible) Take(ctx context.Context, key string) (uint64, uint64, uint64, bool, error) {
	tokens, remaining, reset, ok, err := e.Store.Take(ctx, key)
	e.cluster.mu.Lock()
	defer e.cluster.mu.Unlock()
	return tokens, remaining, reset, ok && !e.cluster.left.Limited, err
}
