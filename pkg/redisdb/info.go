package redisdb

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// infoTimeout bounds what a scrape waits for Redis.
const infoTimeout = time.Second

// Info shows what Redis says about itself (https://redis.io/docs/latest/commands/info/) to Prometheus, by the names that
// redis_exporter has made usual. What this Redis does not tell, as the embedded one does of most, is missing; while it does not
// answer within a second there is nothing but redis_up 0.
type Info struct {
	Client *redis.Client
	Logger *slog.Logger
}

// infoField is a field of what INFO answers, and how it is shown: its number, or, where it is a word, 1 for ok and 0 for another.
type infoField struct {
	field string
	kind  prometheus.ValueType
	desc  *prometheus.Desc
}

func gauge(field, name, help string) infoField {
	return infoField{field, prometheus.GaugeValue, prometheus.NewDesc(name, help, nil, nil)}
}

func counter(field, name, help string) infoField {
	return infoField{field, prometheus.CounterValue, prometheus.NewDesc(name, help, nil, nil)}
}

var (
	infoUp     = prometheus.NewDesc("redis_up", "Whether Redis answers: 1 or 0.", nil, nil)
	infoFields = []infoField{
		gauge("uptime_in_seconds", "redis_uptime_in_seconds", "How long Redis has been running."),
		gauge("loading", "redis_loading_dump_file", "Whether Redis is still reading what it has on disk: 1 or 0."),
		gauge("connected_clients", "redis_connected_clients", "Connections to Redis."),
		gauge("maxclients", "redis_config_maxclients", "Connections that Redis takes at most."),
		gauge("blocked_clients", "redis_blocked_clients", "Connections that wait in a blocking command."),
		gauge("used_memory", "redis_memory_used_bytes", "Memory that Redis holds for what it keeps."),
		gauge("used_memory_rss", "redis_memory_used_rss_bytes", "Memory of the process of Redis."),
		gauge("maxmemory", "redis_memory_max_bytes", "Memory that Redis may hold; 0 is no limit."),
		counter("evicted_keys", "redis_evicted_keys_total", "Keys that Redis threw away for want of memory."),
		counter("expired_keys", "redis_expired_keys_total", "Keys whose time was over."),
		counter("total_commands_processed", "redis_commands_processed_total", "Commands that Redis has carried out."),
		counter("total_connections_received", "redis_connections_received_total", "Connections that Redis has taken."),
		counter("rejected_connections", "redis_rejected_connections_total", "Connections that Redis refused, being full."),
		counter("keyspace_hits", "redis_keyspace_hits_total", "Keys that were asked for and there."),
		counter("keyspace_misses", "redis_keyspace_misses_total", "Keys that were asked for and not there."),
		gauge("aof_enabled", "redis_aof_enabled", "Whether Redis keeps an append-only file: 1 or 0."),
		gauge("aof_last_write_status", "redis_aof_last_write_status", "Whether the last write to the append-only file went well: 1 or 0."),
		gauge("aof_last_bgrewrite_status", "redis_aof_last_bgrewrite_status", "Whether the append-only file was last rewritten well: 1 or 0."),
		gauge("aof_current_size", "redis_aof_current_size_bytes", "Size of the append-only file."),
		gauge("rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", "Whether the last snapshot went well: 1 or 0."),
	}
)

// Describe implements prometheus.Collector.
func (i Info) Describe(ch chan<- *prometheus.Desc) {
	ch <- infoUp
	for _, f := range infoFields {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (i Info) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	text, err := i.Client.Info(ctx).Result()
	if err != nil {
		i.Logger.DebugContext(ctx, "Redis is missing from a scrape", "err", err)
		ch <- prometheus.MustNewConstMetric(infoUp, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(infoUp, prometheus.GaugeValue, 1)
	said := parseInfo(text)
	for _, f := range infoFields {
		if value, ok := f.value(said); ok {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, value)
		}
	}
}

// parseInfo reads lines of field:value. Others are titles of sections.
func parseInfo(text string) map[string]string {
	said := map[string]string{}
	for line := range strings.Lines(text) {
		if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			said[field] = value
		}
	}
	return said
}

func (f infoField) value(said map[string]string) (float64, bool) {
	text, ok := said[f.field]
	if strings.HasSuffix(f.field, "_status") {
		if text == "ok" {
			return 1, ok
		}
		return 0, ok
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, ok && err == nil
}
