#include "daemon/rivery/failure.h"

#include <gtest/gtest.h>

#include <string>

namespace oauthvault::rivery {
namespace {

using std::chrono::seconds;

constexpr Operation kOperations[] = {Operation::kTypes,  Operation::kOauthStart,
                                     Operation::kOauthFetch, Operation::kCreate,
                                     Operation::kUpdate, Operation::kList};

TEST(FailureTest, FailureOf_SaysRefusedOnlyWhereNothingWasDone) {
  for (const int status : {400, 401, 402, 403, 404, 409, 422, 429, 499, 301, 307, 308}) {
    EXPECT_EQ(FailureOf(Operation::kCreate, "PUT", status, 0, seconds(0)).fate, Fate::kRefused)
        << status;
  }
  for (const int status : {500, 501, 502, 503, 504, 599, 300, 302, 303, 304}) {
    EXPECT_EQ(FailureOf(Operation::kCreate, "PUT", status, 0, seconds(0)).fate, Fate::kUnclear)
        << status;
  }
  // The same words under HTTP 200.
  EXPECT_EQ(FailureOf(Operation::kCreate, "PUT", 200, 402, seconds(0)).fate, Fate::kRefused);
  EXPECT_EQ(FailureOf(Operation::kCreate, "PUT", 200, 500, seconds(0)).fate, Fate::kUnclear);
}

TEST(FailureTest, FailureOf_TellsTheTwoMeaningsOf429Apart) {
  EXPECT_EQ(FailureOf(Operation::kOauthStart, "POST", 429, 0, seconds(0)).error.GetCode(),
            Code::kInvalid);
  EXPECT_EQ(FailureOf(Operation::kOauthStart, "POST", 429, 0, seconds(5)).error.GetCode(),
            Code::kExhausted);
  for (const Operation operation : kOperations) {
    if (operation == Operation::kOauthStart) continue;
    const Failure failure = FailureOf(operation, "GET", 429, 0, seconds(5));
    EXPECT_EQ(failure.error.GetCode(), Code::kExhausted);
    EXPECT_EQ(failure.retry_after, seconds(5));
  }
}

TEST(FailureTest, FailureOf_SaysWhatToDoWithTheStatusAsItsSubject) {
  const auto error = [](Operation operation, int http_status, int body_code) {
    return FailureOf(operation, "PUT", http_status, body_code, seconds(0)).error;
  };
  const Error unauthenticated = error(Operation::kList, 401, 0);
  EXPECT_EQ(unauthenticated.GetCode(), Code::kUnauthenticated);
  EXPECT_TRUE(unauthenticated.GetText().contains("token is wrong"));
  EXPECT_TRUE(unauthenticated.GetText().contains("region"));
  EXPECT_EQ(unauthenticated.GetSubject(), "401");
  const Error denied = error(Operation::kCreate, 403, 0);
  EXPECT_EQ(denied.GetCode(), Code::kDenied);
  EXPECT_TRUE(denied.GetText().contains("scope"));
  EXPECT_TRUE(denied.GetText().contains("environment"));
  const Error in_use = error(Operation::kUpdate, 200, 402);
  EXPECT_EQ(in_use.GetCode(), Code::kConflict);
  EXPECT_TRUE(in_use.GetText().contains("rivers"));
  EXPECT_EQ(in_use.GetSubject(), "402");
  EXPECT_EQ(error(Operation::kOauthStart, 402, 0).GetCode(), Code::kInvalid);
  EXPECT_EQ(error(Operation::kCreate, 402, 0).GetCode(), Code::kDenied);
  EXPECT_EQ(error(Operation::kUpdate, 404, 0).GetCode(), Code::kNotFound);
}

TEST(FailureTest, FailureOf_HasAnAnswerForEveryStatusOfEveryOperation) {
  for (const Operation operation : kOperations) {
    for (int status = 300; status < 600; ++status) {
      const Failure failure = FailureOf(operation, "POST", status, 0, seconds(0));
      EXPECT_EQ(failure.http_status, status);
      EXPECT_EQ(failure.error.GetSubject(), std::to_string(status));
      EXPECT_NE(failure.fate, Fate::kNeverSent);
    }
  }
}

TEST(FailureTest, ParseRetryAfter_ReadsSecondsAndDatesUpToOneHour) {
  const auto now = std::chrono::system_clock::from_time_t(784111777);  // Sun, 06 Nov 1994 08:49:37
  const struct {
    std::string value;
    long wait_s;
  } rows[] = {
      {"0", 0},
      {"7", 7},
      {"3600", 3600},
      {"3601", 3600},
      {"99999999999999999999999999", 3600},
      {"Sun, 06 Nov 1994 08:50:07 GMT", 30},
      {"Sun, 06 Nov 1994 08:49:07 GMT", 0},
      {"Sun, 06 Nov 1995 08:49:37 GMT", 3600},
      {"Sunday, 06-Nov-94 08:50:07 GMT", 30},
      {"", 0},
      {"-5", 0},
      {"soon", 0},
      {"1.5", 0},
      {std::string(100, '1'), 0},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ParseRetryAfter(row.value, now).count(), row.wait_s) << row.value;
  }
}

}  // namespace
}  // namespace oauthvault::rivery
