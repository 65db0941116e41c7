#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/audit/checkpoint.h"
#include "daemon/audit/merkle.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// A page of an extract ends behind this many bytes.
inline constexpr std::size_t kExtractPageSize = 1024 * 1024;
/// One record has at most this many bytes: a line as a JSON text, and a proof.
inline constexpr std::size_t kMaxRecordSize = 256 * 1024;

/// Records of a tenant's own extract, each a JSON object in one line. AUDIT.md, "A tenant's own
/// extract".
struct ExtractPage {
  std::vector<std::string> records;
  std::string next;  ///< the token of the next page; empty: this was the last
};

/// The lines of one project in all closed segments, with what shows that none is missing. `folder`
/// holds their checkpoints; `token`: empty, or the `next` of the page before. It reads one segment,
/// and what it keeps is bounded by that. Errors: Invalid (token), NotFound (no segment is closed
/// yet), Corrupt (a segment's checkpoint is missing), Unavailable.
Result<ExtractPage> ExtractOf(const std::vector<Segment>& segments,
                              const std::filesystem::path& folder, const CheckpointKey& public_key,
                              std::string_view project, const std::string& token);

/// What an extract shows.
struct ExtractVerdict {
  std::string project;
  std::uint64_t lines = 0;           ///< of the project
  std::uint64_t first_sequence = 0;  ///< from this line of the trail on none is missing
  std::uint64_t last_sequence = 0;   ///< up to this one
  std::vector<Verdict::Problem> problems;  ///< by the number of the record, from 1
};

/// Checks an extract with nothing but the public key and, where one was kept, the signed checkpoint
/// that it ends in. Errors: Invalid (no such file), Unavailable.
Result<ExtractVerdict> VerifyExtract(const std::filesystem::path& file,
                                     const CheckpointKey& public_key,
                                     const std::vector<std::string>& kept);

/// The hashes that show that the trail's first `newer` lines begin with its first `older` ones
/// (`IsConsistent`). Reads the whole trail. Errors: Invalid (sizes), Unavailable.
Result<std::vector<TreeHash>> ConsistencyProof(const std::vector<Segment>& segments,
                                               std::uint64_t older, std::uint64_t newer);

}  // namespace oauthvault::audit
