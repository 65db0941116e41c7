#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "crypto/sealed.h"
#include "crypto/secret.h"
#include "daemon/audit/line.h"
#include "daemon/audit/trail.h"
#include "storage/tables/ledger.h"

namespace oauthvault::audit {

/// The key whose bytes are `first`, `first` + 1, ..
inline crypto::SecretBytes KeyFrom(std::uint8_t first) {
  crypto::SecretBytes key(crypto::kKeySize);
  key.Fill([&](std::span<std::uint8_t> bytes) {
    for (std::uint8_t& byte : bytes) byte = first++;
  });
  return key;
}

inline const crypto::SecretBytes& TestKey() {
  static const crypto::SecretBytes key = KeyFrom(0);
  return key;
}

/// A clock that stands at 2001-09-09T01:46:40.000123Z.
inline std::int64_t StandingClock() { return 1'000'000'000'000'123; }

/// A line under the test key.
inline std::string EncodedLine(const Entry& entry, storage::Position head, std::uint64_t sequence,
                               std::int64_t time_us, const HashDigits& previous) {
  std::string line;
  AppendLine(TestKey(), entry, head, sequence, time_us, previous, line);
  return line;
}

inline Entry RevealOf(std::string oauth_id) {
  Entry entry;
  entry.act = "Credentials.Reveal";
  entry.principal = "spiffe://vault.test/project/42/component/keboola.ex-google-drive";
  entry.right = "reveal";
  entry.outcome = Outcome::kAllowed;
  entry.project = "42";
  entry.component = "keboola.ex-google-drive";
  entry.oauth_id = std::move(oauth_id);
  entry.version = 3;
  entry.peer = "127.0.0.1:40000";
  entry.request_id = "request-1";
  return entry;
}

/// What one commit was about.
inline storage::Act RegisterAct() {
  return {.act = "Registry.AddProject",
          .principal = "local/admin",
          .right = "register",
          .project = "42",
          .peer = "unix:",
          .request_id = "request-0"};
}
inline Entry CommitAt(storage::Position position) { return EntryOf(RegisterAct(), position); }

/// The commits of the generations `first` to `last`; the object of each is its generation.
inline std::vector<storage::Committed> Commits(std::uint64_t first, std::uint64_t last) {
  std::vector<storage::Committed> commits;
  for (std::uint64_t generation = first; generation <= last; ++generation) {
    commits.push_back({generation, RegisterAct()});
    commits.back().act.object = std::to_string(generation);
  }
  return commits;
}

/// Asks until the answer is another than Unavailable: a disk that hung has answered.
template <class Ask>
auto OnceItAnswers(Ask ask) -> decltype(ask()) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (true) {
    auto result = ask();
    if (result || result.error().GetCode() != Code::kUnavailable ||
        std::chrono::steady_clock::now() > end) {
      return result;
    }
    std::this_thread::yield();
  }
}
inline Result<Recorded> RecordOnceItAnswers(Trail& trail, const Entry& entry) {
  return OnceItAnswers([&] { return trail.RecordAndWait(entry); });
}

/// A folder of its own for each test, and what one does with the trail in it.
class TrailFolder : public testing::Test {
 protected:
  TrailFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "audit-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~TrailFolder() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path File() const { return folder_ / "audit.jsonl"; }

  std::unique_ptr<Trail> OpenTrail(FileCalls calls = FileCalls::System(),
                                   const TrailLimits* limits = nullptr) const {
    Result<std::unique_ptr<Trail>> trail =
        Trail::Open(folder_, TestKey(), StandingClock, std::move(calls), limits);
    EXPECT_TRUE(trail) << (trail ? "" : trail.error().Message());
    return trail ? *std::move(trail) : nullptr;
  }

  /// A finished trail of a begin line and `count` others.
  void WriteTrail(int count) const {
    const std::unique_ptr<Trail> trail = OpenTrail();
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(trail->RecordAndWait(RevealOf("id-" + std::to_string(i))));
    }
  }

  static std::string Read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static void Write(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  }

  /// The lines of the trail, without their ends.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    std::ifstream file(File());
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  void WriteLines(const std::vector<std::string>& lines) const {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    Write(File(), text);
  }

  /// The generations of the lines about commits (Commits), in the order of the file.
  std::vector<std::uint64_t> CommitsTold() const {
    std::vector<std::uint64_t> generations;
    for (const std::string& line : Lines()) {
      const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
      if (parsed.at("act") != RegisterAct().act) continue;
      EXPECT_EQ(parsed.at("object"), std::to_string(parsed.at("generation").get<std::uint64_t>()));
      generations.push_back(parsed.at("generation"));
    }
    return generations;
  }

  /// What the verification of the closed trail finds: `line number: phrase`, one each.
  std::vector<std::string> Problems(const crypto::SecretBytes& key = TestKey()) const {
    const Result<Verdict> verdict = VerifyFile(folder_, key);
    if (!verdict) return {"cannot verify"};
    std::vector<std::string> problems;
    for (const Verdict::Problem& problem : verdict->problems) {
      problems.push_back(std::to_string(problem.line_number) + ": " + problem.what);
    }
    return problems;
  }

  std::filesystem::path folder_;
};

}  // namespace oauthvault::audit
