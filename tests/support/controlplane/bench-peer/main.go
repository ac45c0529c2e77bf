// The peer of the benchmark: what a Go developer would write with controller-runtime to do what the operator does to
// the benchmark's Tenants, five children and a status, each compared with a cache before it is written.
package main

import (
	"context"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	owner     = "bench-peer"
	tenantKey = "tenantry.dev/tenant"
	managedBy = "app.kubernetes.io/managed-by"
	finalizer = "tenantry.dev/teardown"
)

var tenants = schema.GroupVersionKind{Group: "tenantry.dev", Version: "v1alpha1", Kind: "Tenant"}

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	tenant := &unstructured.Unstructured{}
	tenant.SetGroupVersionKind(tenants)
	if err := r.Get(ctx, request.NamespacedName, tenant); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if len(tenant.GetFinalizers()) == 0 {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["`+finalizer+`"]}}`))
		if err := r.Patch(ctx, tenant, patch); err != nil {
			return reconcile.Result{}, err
		}
	}
	name := tenant.GetName()
	namespace := &corev1.Namespace{ObjectMeta: meta(name, name, "")}
	if err := r.Get(ctx, client.ObjectKeyFromObject(namespace), &corev1.Namespace{}); apierrors.IsNotFound(err) {
		if err := r.Create(ctx, namespace, client.FieldOwner(owner)); err != nil && !apierrors.IsAlreadyExists(err) {
			return reconcile.Result{}, err
		}
	} else if err != nil {
		return reconcile.Result{}, err
	}
	for _, child := range children(name) {
		found := child.DeepCopyObject().(client.Object)
		if err := r.Get(ctx, client.ObjectKeyFromObject(child), found); err == nil {
			continue
		} else if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		if err := r.Patch(ctx, child, client.Apply, client.FieldOwner(owner)); err != nil { //nolint:staticcheck
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, r.writeStatus(ctx, tenant)
}

func (r *reconciler) writeStatus(ctx context.Context, tenant *unstructured.Unstructured) error {
	generation := tenant.GetGeneration()
	if seen, _, _ := unstructured.NestedInt64(tenant.Object, "status", "observedGeneration"); seen == generation {
		return nil
	}
	status := &unstructured.Unstructured{}
	status.SetGroupVersionKind(tenants)
	status.SetName(tenant.GetName())
	now := time.Now().UTC().Format(time.RFC3339)
	var conditions []any
	for _, kind := range []string{"Ready", "Reconciling", "Stalled", "NamespacesReady", "QuotaReady", "NetworkPoliciesReady", "AccessReady", "ClassResolved"} {
		state := "True"
		if kind == "Reconciling" || kind == "Stalled" {
			state = "False"
		}
		conditions = append(conditions, map[string]any{
			"type": kind, "status": state, "reason": "Reconciled", "message": "", "observedGeneration": generation, "lastTransitionTime": now,
		})
	}
	status.Object["status"] = map[string]any{
		"observedGeneration": generation, "phase": "Active", "conditions": conditions, "namespaceCount": int64(1),
		"namespaces": []any{map[string]any{"name": tenant.GetName(), "phase": "Active", "ready": true}},
	}
	return r.Status().Patch(ctx, status, client.Apply, client.FieldOwner(owner)) //nolint:staticcheck
}

func meta(tenant, name, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{tenantKey: tenant, managedBy: owner}}
}

func children(tenant string) []client.Object {
	quantities := func(pairs ...string) corev1.ResourceList {
		list := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return list
	}
	return []client.Object{
		&corev1.ResourceQuota{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
			ObjectMeta: meta(tenant, "tenantry", tenant),
			Spec:       corev1.ResourceQuotaSpec{Hard: quantities("limits.cpu", "4", "limits.memory", "8Gi", "pods", "20")},
		},
		&corev1.LimitRange{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"},
			ObjectMeta: meta(tenant, "tenantry-defaults", tenant),
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
				{Type: corev1.LimitTypeContainer, Default: quantities("cpu", "500m", "memory", "256Mi")},
			}},
		},
		&networkingv1.NetworkPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: meta(tenant, "tenantry-isolation", tenant),
			Spec: networkingv1.NetworkPolicySpec{
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}},
			},
		},
		&rbacv1.RoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
			ObjectMeta: meta(tenant, "tenantry-owner", tenant),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "oidc:owners"}},
		},
	}
}

func run() error {
	ctrl.SetLogger(zap.New())
	configuration, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	configuration.QPS = -1
	selector := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{managedBy: owner})}
	manager, err := ctrl.NewManager(configuration, ctrl.Options{
		Metrics: server.Options{BindAddress: os.Getenv("PEER_METRICS")},
		Client:  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.Namespace{}: selector, &corev1.ResourceQuota{}: selector, &corev1.LimitRange{}: selector,
			&networkingv1.NetworkPolicy{}: selector, &rbacv1.RoleBinding{}: selector,
		}},
	})
	if err != nil {
		return err
	}
	byLabel := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: object.GetLabels()[tenantKey]}}}
	})
	tenant := &unstructured.Unstructured{}
	tenant.SetGroupVersionKind(tenants)
	err = ctrl.NewControllerManagedBy(manager).Named("tenant").For(tenant).
		Watches(&corev1.Namespace{}, byLabel).Watches(&corev1.ResourceQuota{}, byLabel).Watches(&corev1.LimitRange{}, byLabel).
		Watches(&networkingv1.NetworkPolicy{}, byLabel).Watches(&rbacv1.RoleBinding{}, byLabel).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		log.Log.Error(err, "ended")
		os.Exit(1)
	}
}
