// What Stats counts, for a program that shows it to Prometheus: its text exposition format, version
// 0.0.4. Each family has its HELP and TYPE once, and all its samples behind them; counters end in
// _total, and units are seconds and bytes.
#include <charconv>

#include "engine/text.h"
#include "wp.h"

namespace wp {

void Histogram::add(std::chrono::nanoseconds value) {
  size_t bucket = 0;
  while (bucket < kBuckets && value > upper_bound(bucket)) ++bucket;
  ++counts[bucket];
  ++count;
  sum += value;
}

namespace {

// A label's value may hold any UTF-8, with three characters escaped.
std::string escaped(std::string_view text) {
  const bool utf8 = is_utf8(text);
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += utf8 || static_cast<unsigned char>(c) < 0x80 ? c : '?';
    }
  }
  return out;
}

// Without a look at the locale.
std::string number(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}
std::string number(uint64_t value) {
  return std::to_string(value);
}

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

class Exposition {
 public:
  explicit Exposition(std::string_view root) : root_("root=\"" + escaped(root) + "\"") {}

  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    out_.append("# HELP ").append(name).append(" ").append(help).append("\n");
    out_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  }
  // Of the family begun last. `labels`: more of them, as `a="x",b="y"`.
  template <class Number>
  void sample(Number value, std::string_view labels = {}, std::string_view suffix = {}) {
    out_.append(name_).append(suffix).append("{").append(root_);
    if (!labels.empty()) out_.append(",").append(labels);
    out_.append("} ").append(number(value)).append("\n");
  }
  template <class Number>
  void counter(std::string_view name, Number value, std::string_view help) {
    family(name, "counter", help);
    sample(value);
  }
  template <class Number>
  void gauge(std::string_view name, Number value, std::string_view help) {
    family(name, "gauge", help);
    sample(value);
  }
  void histogram(std::string_view name, const Histogram& histogram, std::string_view help) {
    family(name, "histogram", help);
    uint64_t upto = 0;
    for (size_t i = 0; i <= Histogram::kBuckets; ++i) {
      upto += histogram.counts[i];
      const std::string le =
          i == Histogram::kBuckets ? "+Inf" : number(seconds(Histogram::upper_bound(i)));
      sample(upto, "le=\"" + le + "\"", "_bucket");
    }
    sample(seconds(histogram.sum), {}, "_sum");
    sample(upto, {}, "_count");
  }
  std::string take() { return std::move(out_); }

 private:
  const std::string root_;
  std::string_view name_;
  std::string out_;
};

std::string label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + escaped(value) + "\"";
}

void put_appending(Exposition& out, const Stats& stats) {
  out.counter("wp_appended_entries_total", stats.entries_appended, "Entries accepted into RAM.");
  out.counter("wp_appended_bytes_total", stats.bytes_appended,
              "Payloads and properties accepted into RAM.");
  out.counter("wp_durable_entries_total", stats.entries_durable, "Entries acknowledged.");
  out.counter("wp_durable_bytes_total", stats.bytes_durable,
              "Payloads and properties acknowledged.");
  out.gauge("wp_backlog_entries", stats.backlog_entries,
            "Entries accepted and neither acknowledged nor refused.");
  out.gauge("wp_backlog_bytes", stats.backlog_bytes, "Payloads and properties of those.");
  out.gauge("wp_backlog_age_seconds", seconds(stats.backlog_age), "Age of the oldest of those.");
}

void put_storing(Exposition& out, const Stats& stats) {
  out.counter("wp_stored_fragments_total", stats.fragments_stored, "Fragments acknowledged.");
  out.counter("wp_stored_fragment_bytes_total", stats.fragment_bytes_stored,
              "Bytes of those objects.");
  out.histogram("wp_flush_latency_seconds", stats.flush_latency,
                "From closing a fragment until it was acknowledged.");
  out.family("wp_retries_total", "counter", "Puts of a slot beyond its first, by why.");
  const RetryCounts& retries = stats.retries_by_cause;
  out.sample(retries.throttled, label("cause", "throttled"));
  out.sample(retries.unknown, label("cause", "unknown"));
  out.sample(retries.conflict, label("cause", "conflict"));
  out.sample(retries.denied, label("cause", "denied"));
  out.sample(retries.no_space, label("cause", "no_space"));
  out.sample(retries.other, label("cause", "other"));
  out.gauge("wp_store_failing", uint64_t{stats.last_error.empty() ? 0u : 1u},
            "1 while the store's last answer to a write was an error.");
}

void put_ram(Exposition& out, const Stats& stats) {
  out.family("wp_ram_bytes", "gauge", "RAM of the budget, by use.");
  out.sample(stats.ram_gathering, label("use", "gathering"));
  out.sample(stats.ram_uploading, label("use", "uploading"));
  out.sample(stats.ram_cache, label("use", "cache"));
  out.sample(stats.ram_reading, label("use", "reading"));
  out.sample(stats.ram_index, label("use", "index"));
  out.sample(stats.ram_compacting, label("use", "compacting"));
  out.sample(stats.ram_ephemeral, label("use", "ephemeral"));
  out.gauge("wp_ram_peak_bytes", stats.ram_bytes_peak, "The most that all uses had together.");
}

void put_space(Exposition& out, const Stats& stats) {
  out.gauge("wp_compaction_debt_bytes", stats.compaction_debt_bytes,
            "Small or mostly unused objects, as of the last pass.");
  out.counter("wp_segments_written_total", stats.segments_written, "Segments published.");
  out.counter("wp_segment_bytes_written_total", stats.segment_bytes_written,
              "Bytes of those objects.");
  out.gauge("wp_reclaimable_bytes", stats.reclaimable_bytes,
            "Objects that only wait to be deleted, as of the last pass.");
  out.counter("wp_reclaimed_bytes_total", stats.reclaimed_bytes, "Bytes of objects deleted.");
}

void put_cursors(Exposition& out, const Stats& stats) {
  const auto each = [&](std::string_view name, std::string_view help, auto value) {
    out.family(name, "gauge", help);
    for (const CursorLag& lag : stats.cursors) {
      out.sample(value(lag.cursor), label("log", lag.log) + "," + label("cursor", lag.cursor.name));
    }
  };
  each("wp_cursor_lag_entries", "Durable entries behind a cursor's commit.",
       [](const CursorInfo& cursor) { return cursor.entries_behind; });
  each("wp_cursor_lag_bytes", "About as many bytes.",
       [](const CursorInfo& cursor) { return cursor.bytes_behind; });
  each("wp_cursor_lag_seconds", "Since it was committed, by the log's own time.",
       [](const CursorInfo& cursor) { return seconds(cursor.age_behind); });
}

void put_ephemeral(Exposition& out, const Stats& stats) {
  out.counter("wp_ephemeral_published_entries_total", stats.ephemeral_published,
              "Entries published without being stored.");
  out.counter("wp_ephemeral_delivered_entries_total", stats.ephemeral_delivered,
              "Of those, what subscribers read, each counted.");
  out.counter("wp_ephemeral_dropped_entries_total", stats.ephemeral_dropped,
              "Of those, what subscribers missed, each counted.");
}

// All samples of a family stand together, so the requests are gone through for each.
void put_requests(Exposition& out, const Stats& stats) {
  const auto each = [&](std::string_view name, std::string_view help, auto value) {
    out.family(name, "counter", help);
    for (const RequestCount& count : stats.requests) {
      out.sample(value(count),
                 label("operation", count.operation) + "," + label("cause", count.cause));
    }
  };
  each("wp_requests_total", "Requests to the store.",
       [](const RequestCount& count) { return count.requests; });
  each("wp_failed_requests_total", "Of those, what failed.",
       [](const RequestCount& count) { return count.failed; });
  each("wp_request_bytes_total", "Bytes of their bodies, both ways.",
       [](const RequestCount& count) { return count.bytes; });
  each("wp_request_dollars_total", "What they cost, by the prices in the options.",
       [](const RequestCount& count) { return count.dollars; });
}

}  // namespace

std::string to_prometheus(const Stats& stats, std::string_view root_label) {
  Exposition out(root_label);
  put_appending(out, stats);
  put_storing(out, stats);
  put_ram(out, stats);
  put_space(out, stats);
  put_cursors(out, stats);
  put_ephemeral(out, stats);
  put_requests(out, stats);
  return out.take();
}

}  // namespace wp
