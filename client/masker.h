#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::client {

/// What stands in the place of what must not be seen, once for all that lies together.
inline constexpr std::string_view kMask = "[hidden]";

/// Texts that must not be seen, ready to be found in streams: an automaton after Aho and Corasick
/// ("Efficient string matching", 1975). Its memory is 20 bytes for each byte of them, and is wiped.
/// Threads: any, once made.
class HiddenTexts {
 public:
  /// A text longer than this is looked for in pieces of this size, so that no more is held back.
  static constexpr std::size_t kMaxPieceSize = 256;

  /// Empty texts are left out. The texts can be wiped afterwards.
  explicit HiddenTexts(std::span<const std::string> texts);
  ~HiddenTexts();
  HiddenTexts(HiddenTexts&&) noexcept = default;
  HiddenTexts& operator=(HiddenTexts&&) = delete;

  /// How far a stream's end goes into one of the texts.
  using State = std::uint32_t;
  static constexpr State kNowhere = 0;

  /// After one more byte.
  State Next(State state, std::uint8_t byte) const;
  /// How many of the last bytes may still become a text, or are one.
  std::size_t Depth(State state) const { return nodes_[state].depth; }
  /// The size of the longest text that ends with the last byte; 0: none does.
  std::size_t Found(State state) const { return nodes_[state].found; }

 private:
  struct Node {
    std::uint32_t child = 0;    // the first; 0: none
    std::uint32_t sibling = 0;  // the next child of the same node; 0: none
    std::uint32_t fail = 0;     // the longest end of this node's text that begins a text
    std::uint16_t depth = 0;
    std::uint16_t found = 0;
    std::uint8_t byte = 0;
  };
  void Add(std::string_view text);
  void AddPiece(std::string_view piece);
  State ChildOf(State node, std::uint8_t byte) const;
  void SortByDepth();
  void Link();

  std::vector<Node> nodes_;
  // Of the nodes next to the root, where nearly all steps are taken: the next state for each byte.
  std::vector<State> near_;
};

/// One stream with those texts masked, wherever chunks begin and end. Holds back only what may
/// still become one of them, at most HiddenTexts::kMaxPieceSize bytes: everything else shows at
/// once. Threads: one.
class Masker {
 public:
  /// `texts` must outlive this.
  explicit Masker(const HiddenTexts& texts) : texts_(texts) {}
  ~Masker();
  Masker(const Masker&) = delete;
  Masker& operator=(const Masker&) = delete;

  /// Takes a chunk; appends to `shown` what can be shown now.
  void Take(std::span<const std::uint8_t> chunk, std::string& shown);
  /// The stream has ended: what is held back did not become anything.
  void End(std::string& shown);

 private:
  void Release(std::size_t count, std::string& shown);

  struct Held {
    std::uint8_t byte;
    bool masked;
  };
  const HiddenTexts& texts_;
  HiddenTexts::State state_ = HiddenTexts::kNowhere;
  // The stream's last bytes that were not shown yet: from `first_` on.
  std::vector<Held> held_;
  std::size_t first_ = 0;
  bool in_mask_ = false;  // the last that was shown is kMask
};

}  // namespace oauthvault::client
