#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace oauthvault::metrics {

/// Writes Prometheus' text format. Source: Prometheus, "Exposition formats", text-based format
/// 0.0.4. Names and values of labels are ours (fixed words): they are written as they are.
/// Threads: one.
class Exposition {
 public:
  /// What the format is called in a Content-Type.
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  using Label = std::pair<std::string_view, std::string_view>;

  /// Begins a metric: its samples follow. `type` is counter, gauge or histogram.
  void Begin(std::string_view name, std::string_view type, std::string_view help);
  /// One sample of the metric that was begun; `suffix` as histograms have them, else empty.
  void Sample(std::string_view suffix, std::initializer_list<Label> labels, double value);
  /// A metric of one sample without labels.
  void Gauge(std::string_view name, std::string_view help, double value);

  /// A number in its shortest form.
  static std::string Number(double value);

  /// All of it.
  std::string Take() && { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

}  // namespace oauthvault::metrics
