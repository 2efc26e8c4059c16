// libcurl's variadic setters behind types: an option gets exactly the type that libcurl reads, or
// the call does not compile.
#ifndef WP_S3_MINIMAL_CURL_H_
#define WP_S3_MINIMAL_CURL_H_

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace wp::s3 {

// Callbacks must not throw into C.
using CurlTransfer = size_t (*)(char*, size_t, size_t, void*) noexcept;
using CurlSeek = int (*)(void*, curl_off_t, int) noexcept;

// Sets the options of one transfer, and remembers whether one was refused.
class EasyOptions {
 public:
  explicit EasyOptions(CURL* easy) : easy_(easy) {}
  CURLcode code() const { return code_; }

  void number(CURLoption option, long value) { set(option, value); }
  void offset(CURLoption option, uint64_t value) { set(option, static_cast<curl_off_t>(value)); }
  void text(CURLoption option, const std::string& value) { set(option, value.c_str()); }  // copied
  void pointer(CURLoption option, void* value) { set(option, value); }
  void list(CURLoption option, curl_slist* value) { set(option, value); }
  void transfer(CURLoption option, CurlTransfer function) { set(option, function); }
  void seek(CurlSeek function) { set(CURLOPT_SEEKFUNCTION, function); }

 private:
  template <class T>
  void set(CURLoption option, T value) {
    const CURLcode code = curl_easy_setopt(easy_, option, value);
    if (code_ == CURLE_OK) code_ = code;
  }

  CURL* const easy_;
  CURLcode code_ = CURLE_OK;
};

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
  return curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value) == CURLE_OK ? value : nullptr;
}

}  // namespace wp::s3

#endif  // WP_S3_MINIMAL_CURL_H_
