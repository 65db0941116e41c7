#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/masker.h"

namespace oauthvault::client {

/// What Masker should show, by the simplest way there is: every place of every text is marked, and
/// what is marked is replaced. Long texts are looked for whole; their pieces, too.
inline std::string MaskedNaively(std::string_view stream, std::span<const std::string> texts) {
  std::vector<bool> masked(stream.size(), false);
  const auto mark = [&](std::string_view text) {
    if (text.empty()) return;
    for (std::size_t at = stream.find(text); at != std::string_view::npos;
         at = stream.find(text, at + 1)) {
      for (std::size_t i = 0; i < text.size(); ++i) masked[at + i] = true;
    }
  };
  for (const std::string& whole : texts) {
    const std::string_view text = whole;
    constexpr std::size_t kPiece = HiddenTexts::kMaxPieceSize;
    if (text.size() <= kPiece) {
      mark(text);
      continue;
    }
    for (std::size_t at = 0; at + kPiece < text.size(); at += kPiece) mark(text.substr(at, kPiece));
    mark(text.substr(text.size() - kPiece));
  }
  std::string shown;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    if (!masked[i]) shown += stream[i];
    if (masked[i] && (i == 0 || !masked[i - 1])) shown += kMask;
  }
  return shown;
}

}  // namespace oauthvault::client
