#include "client/masker.h"

#include <algorithm>

#include "crypto/secret.h"

namespace oauthvault::client {
namespace {

/// So many nodes have a table of their own: half a mebibyte, which stays in the cache.
constexpr std::size_t kMaxNearNodes = 512;
constexpr std::size_t kByteValues = 256;

template <class T>
void WipeAll(std::vector<T>& elements) {
  crypto::Wipe({reinterpret_cast<std::uint8_t*>(elements.data()), elements.size() * sizeof(T)});
}

}  // namespace

HiddenTexts::HiddenTexts(std::span<const std::string> texts) {
  // Room for all of it, so that nothing is left behind when a vector grows.
  std::size_t nodes = 1;
  for (const std::string& text : texts) nodes += text.size() + kMaxPieceSize;
  nodes_.reserve(nodes);
  nodes_.emplace_back();
  for (const std::string& text : texts) Add(text);
  SortByDepth();
  Link();
}

HiddenTexts::~HiddenTexts() {
  WipeAll(nodes_);
  WipeAll(near_);
}

// The last piece overlaps the one before it, so that it is not a short one that stands everywhere.
void HiddenTexts::Add(std::string_view text) {
  if (text.empty()) return;
  for (std::size_t at = 0; at + kMaxPieceSize < text.size(); at += kMaxPieceSize) {
    AddPiece(text.substr(at, kMaxPieceSize));
  }
  AddPiece(text.substr(text.size() - std::min(text.size(), kMaxPieceSize)));
}

void HiddenTexts::AddPiece(std::string_view piece) {
  State node = kNowhere;
  for (const char c : piece) {
    const auto byte = static_cast<std::uint8_t>(c);
    State next = ChildOf(node, byte);
    if (next == kNowhere) {
      next = static_cast<State>(nodes_.size());
      nodes_.push_back({.sibling = nodes_[node].child,
                        .depth = static_cast<std::uint16_t>(nodes_[node].depth + 1),
                        .byte = byte});
      nodes_[node].child = next;
    }
    node = next;
  }
  nodes_[node].found = nodes_[node].depth;
}

HiddenTexts::State HiddenTexts::ChildOf(State node, std::uint8_t byte) const {
  State child = nodes_[node].child;
  while (child != kNowhere && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

// Breadth first: the nodes near the root come first, and what a node fails to comes before it.
void HiddenTexts::SortByDepth() {
  std::vector<State> order;
  std::vector<State> place(nodes_.size());
  order.reserve(nodes_.size());
  order.push_back(kNowhere);
  for (std::size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = static_cast<State>(i);
    for (State child = nodes_[order[i]].child; child != kNowhere; child = nodes_[child].sibling) {
      order.push_back(child);
    }
  }
  std::vector<Node> sorted;
  sorted.reserve(nodes_.size());
  for (const State old : order) {
    Node node = nodes_[old];
    node.child = place[node.child];
    node.sibling = place[node.sibling];
    sorted.push_back(node);
  }
  WipeAll(nodes_);
  nodes_ = std::move(sorted);
}

// In this order each node's row, its children's failures and what ends in them can be had from
// nodes that are done.
void HiddenTexts::Link() {
  near_.reserve(std::min(nodes_.size(), kMaxNearNodes) * kByteValues);
  for (State node = 0; node < nodes_.size(); ++node) {
    const State fail = nodes_[node].fail;
    if (node != kNowhere) nodes_[node].found = std::max(nodes_[node].found, nodes_[fail].found);
    for (State child = nodes_[node].child; child != kNowhere; child = nodes_[child].sibling) {
      nodes_[child].fail = node == kNowhere ? kNowhere : Next(fail, nodes_[child].byte);
    }
    if (node >= kMaxNearNodes) continue;
    for (std::size_t byte = 0; byte < kByteValues; ++byte) {
      const auto value = static_cast<std::uint8_t>(byte);
      const State child = ChildOf(node, value);
      near_.push_back(child != kNowhere || node == kNowhere ? child : Next(fail, value));
    }
  }
}

HiddenTexts::State HiddenTexts::Next(State state, std::uint8_t byte) const {
  while (state >= kMaxNearNodes) {
    if (const State child = ChildOf(state, byte); child != kNowhere) return child;
    state = nodes_[state].fail;
  }
  return near_[state * kByteValues + byte];
}

Masker::~Masker() {
  held_.resize(held_.capacity());  // also what was moved to the front
  WipeAll(held_);
}

void Masker::Take(std::span<const std::uint8_t> chunk, std::string& shown) {
  // The room that is taken here is all that there will be: what is held back is moved to the front
  // before it runs out.
  constexpr std::size_t kRoom = 16 * HiddenTexts::kMaxPieceSize;
  held_.reserve(kRoom);
  for (const std::uint8_t byte : chunk) {
    state_ = texts_.Next(state_, byte);
    if (held_.size() == kRoom) {
      held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
    held_.push_back({byte, false});
    const std::size_t held = held_.size() - first_;
    for (std::size_t i = 1; i <= std::min(texts_.Found(state_), held); ++i) {
      held_[held_.size() - i].masked = true;
    }
    if (held > texts_.Depth(state_)) Release(held - texts_.Depth(state_), shown);
    // What is masked already will not look otherwise, whatever comes.
    while (first_ < held_.size() && held_[first_].masked) Release(1, shown);
  }
}

void Masker::End(std::string& shown) {
  Release(held_.size() - first_, shown);
  state_ = HiddenTexts::kNowhere;
}

void Masker::Release(std::size_t count, std::string& shown) {
  for (; count > 0; --count, ++first_) {
    const Held& held = held_[first_];
    if (!held.masked) {
      shown += static_cast<char>(held.byte);
    } else if (!in_mask_) {
      shown += kMask;
    }
    in_mask_ = held.masked;
  }
}

}  // namespace oauthvault::client
