// Command argoserver serves the HTTP API of Argo Workflows for tests: Argo's own workflow service, gatekeeper, interceptors and
// gateway, over a clientset in memory in place of Kubernetes.
//
// It prints its address and serves until its standard input ends. Requests below /test/ prepare it: PUT /test/workflows
// stores a workflow as it is, PUT /test/faults says what the next updates meet.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/argoproj/argo-workflows/v3"
	"github.com/argoproj/argo-workflows/v3/persist/sqldb"
	workflowpkg "github.com/argoproj/argo-workflows/v3/pkg/apiclient/workflow"
	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/server/auth"
	"github.com/argoproj/argo-workflows/v3/server/static"
	"github.com/argoproj/argo-workflows/v3/server/types"
	"github.com/argoproj/argo-workflows/v3/server/workflow"
	grpcutil "github.com/argoproj/argo-workflows/v3/util/grpc"
	"github.com/argoproj/argo-workflows/v3/util/instanceid"
	jsonutil "github.com/argoproj/argo-workflows/v3/util/json"
	grpc_middleware "github.com/grpc-ecosystem/go-grpc-middleware"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"
	"github.com/sethvargo/go-limiter"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/rest"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	cluster := newCluster()
	gatekeeper, err := newGatekeeper(cluster)
	if err != nil {
		return err
	}
	limiter, err := memorystore.New(&memorystore.Config{Tokens: 1000})
	if err != nil {
		return err
	}
	backend, err := serveGRPC(cluster, gatekeeper, limiter)
	if err != nil {
		return err
	}
	handler, err := newHandler(cluster, backend, limiter)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { log.Fatal(http.Serve(listener, handler)) }()
	fmt.Printf("http://%s\n", listener.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// newGatekeeper is Argo's in client mode. It makes the clients of a token as Kubernetes would see them.
func newGatekeeper(cluster *cluster) (auth.Gatekeeper, error) {
	authorize := func(authorization string, config *rest.Config) (*rest.Config, *types.Clients, error) {
		return &rest.Config{}, cluster.clients(authorization), nil
	}
	return auth.NewGatekeeper(auth.Modes{auth.Client: true}, nil, nil, nil, authorize, "", "", true, nil)
}

// serveGRPC starts the workflow service with the interceptors that Argo's server has, and returns its address.
func serveGRPC(cluster *cluster, gatekeeper auth.Gatekeeper, limiter limiter.Store) (string, error) {
	logger := logrus.NewEntry(logrus.StandardLogger())
	server := grpc.NewServer(grpc.UnaryInterceptor(grpc_middleware.ChainUnaryServer(
		grpcutil.PanicLoggerUnaryServerInterceptor(logger),
		grpcutil.ErrorTranslationUnaryServerInterceptor,
		gatekeeper.UnaryServerInterceptor(),
		grpcutil.RatelimitUnaryServerInterceptor(limiter),
		grpcutil.SetVersionHeaderUnaryServerInterceptor(argo.GetVersion()),
	)))
	service := workflow.NewWorkflowServer(
		instanceid.NewService(""), sqldb.ExplosiveOffloadNodeStatusRepo, sqldb.NullWorkflowArchive, cluster.base, nil, nil, nil,
	)
	workflowpkg.RegisterWorkflowServiceServer(server, service)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	return listener.Addr().String(), nil
}

// newHandler is the HTTP server of Argo: the rate limit, the gateway to the service, and the user interface for all other paths.
func newHandler(cluster *cluster, backend string, limiter limiter.Store) (http.Handler, error) {
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, new(jsonutil.JSONMarshaler)),
		runtime.WithIncomingHeaderMatcher(func(key string) (string, bool) { return key, true }),
		runtime.WithProtoErrorHandler(runtime.DefaultHTTPProtoErrorHandler),
	)
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	err := workflowpkg.RegisterWorkflowServiceHandlerFromEndpoint(context.Background(), gateway, backend, options)
	if err != nil {
		return nil, err
	}
	limit, err := httplimit.NewMiddleware(cluster.limited(limiter), httplimit.IPKeyFunc())
	if err != nil {
		return nil, err
	}
	served := http.NewServeMux()
	served.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Connection")
		gateway.ServeHTTP(w, r)
	})
	served.HandleFunc("/", static.NewFilesServer("/", false, "DENY", "").ServerFiles)
	all := http.NewServeMux()
	all.Handle("/", limit.Handle(served))
	all.HandleFunc("PUT /test/workflows", decoded(cluster.put))
	all.HandleFunc("PUT /test/faults", decoded(cluster.meet))
	return all, nil
}

func decoded[T wfv1.Workflow | faults](act func(*T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		err := json.NewDecoder(r.Body).Decode(&body)
		if err == nil {
			err = act(&body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
}
