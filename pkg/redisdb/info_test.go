package redisdb_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
)

// told is what a scrape shows, by name.
func told(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return values
}

// A real Redis tells all of it, the embedded one what it knows, and both that they are there.
func TestInfo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		values := told(t, redisdb.Info{Client: redistest.Client(t, o), Logger: redistest.Logger(t)})
		if values["redis_up"] != 1 || values["redis_connected_clients"] < 1 || values["redis_commands_processed_total"] < 1 {
			t.Errorf("%v", values)
		}
	})
}

func TestInfoOfARealRedis(t *testing.T) {
	server := redistest.Start(t)
	client := redistest.Client(t, server.Options())
	if err := client.ConfigSet(t.Context(), "appendonly", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	info := redisdb.Info{Client: client, Logger: redistest.Logger(t)}
	values := told(t, info)
	if len(values) != 21 || values["redis_memory_used_bytes"] < 1<<10 || values["redis_config_maxclients"] < 1 {
		t.Errorf("%d values: %v", len(values), values)
	}
	for name, want := range map[string]float64{"redis_aof_enabled": 1, "redis_aof_last_write_status": 1, "redis_evicted_keys_total": 0} {
		if values[name] != want {
			t.Errorf("%s is %v, want %v", name, values[name], want)
		}
	}
	server.Stop()
	if values := told(t, info); len(values) != 1 || values["redis_up"] != 0 {
		t.Errorf("without Redis: %v", values)
	}
}
