// libcurl's variadic setters behind types: an option gets exactly the type that libcurl reads, or
// the call does not compile. Each stops the program where an option is refused: that is a wrong
// build, not a state to run in.
#ifndef WP_S3_MINIMAL_CURL_H_
#define WP_S3_MINIMAL_CURL_H_

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <type_traits>

namespace wp::s3 {

inline void curl_must(CURLcode code) {
  if (code != CURLE_OK) std::abort();
}

inline void set_number(CURL* easy, CURLoption option, long value) {
  curl_must(curl_easy_setopt(easy, option, value));
}
inline void set_offset(CURL* easy, CURLoption option, uint64_t value) {
  curl_must(curl_easy_setopt(easy, option, static_cast<curl_off_t>(value)));
}
inline void set_text(CURL* easy, CURLoption option, const std::string& value) {  // copied
  curl_must(curl_easy_setopt(easy, option, value.c_str()));
}
inline void set_pointer(CURL* easy, CURLoption option, void* value) {
  curl_must(curl_easy_setopt(easy, option, value));
}
inline void set_list(CURL* easy, CURLoption option, curl_slist* value) {
  curl_must(curl_easy_setopt(easy, option, value));
}

// Callbacks must not throw into C.
using CurlTransfer = size_t (*)(char*, size_t, size_t, void*) noexcept;
using CurlSeek = int (*)(void*, curl_off_t, int) noexcept;
inline void set_transfer(CURL* easy, CURLoption option, CurlTransfer function) {
  curl_must(curl_easy_setopt(easy, option, function));
}
inline void set_seek(CURL* easy, CurlSeek function) {
  curl_must(curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, function));
}
inline void set_multi_number(CURLM* multi, CURLMoption option, long value) {
  if (curl_multi_setopt(multi, option, value) != CURLM_OK) std::abort();
}

inline long get_number(CURL* easy, CURLINFO info) {
  long value = 0;
  return curl_easy_getinfo(easy, info, &value) == CURLE_OK ? value : 0;
}
inline int64_t get_offset(CURL* easy, CURLINFO info) {
  curl_off_t value = 0;
  return curl_easy_getinfo(easy, info, &value) == CURLE_OK ? static_cast<int64_t>(value) : 0;
}
inline void* get_private(CURL* easy) {
  char* value = nullptr;
  curl_must(curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value));
  return value;
}

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CURL_H_
