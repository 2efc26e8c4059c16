// The documents of S3 and of credential services: what is sound is read, and of what is not no
// value ever comes.
#include <doctest/doctest.h>

#include <random>

#include "s3_minimal/json.h"
#include "s3_minimal/messages.h"
#include "s3_minimal/xml.h"

namespace wp::s3 {
namespace {

// What a reader makes of a document, as text: <a "text" >; "!" for damage.
std::string events(std::string_view document) {
  XmlReader reader(document);
  std::string out;
  for (;;) {
    switch (reader.next()) {
      case XmlReader::Event::kStart:
        out += "<" + std::string(reader.name()) + " ";
        break;
      case XmlReader::Event::kEnd:
        out += ">";
        break;
      case XmlReader::Event::kText:
        out += "'" + reader.text() + "' ";
        break;
      case XmlReader::Event::kDone:
        return out;
      case XmlReader::Event::kError:
        return "!";
    }
  }
}

const std::string kList =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><EncodingType>url</"
    "EncodingType>"
    "<IsTruncated>true</IsTruncated><Contents><Key>a%20b%2Bc</Key><Size>12</Size>"
    "<Owner><ID>x</ID></Owner></Contents><Contents><Key>d</Key><Size>0</Size></Contents>"
    "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes></ListBucketResult>";

const std::string kError =
    "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>the region "
    "&apos;x&apos; is wrong</Message><Region>eu-west-1</Region><RequestId>R1</RequestId>"
    "<Endpoint>s3.eu-west-1.amazonaws.com</Endpoint><Bucket>b</Bucket>"
    "<ServerTime>2026-11-24T10:00:00Z</ServerTime><ActualObjectSize>17</ActualObjectSize></Error>";

}  // namespace

TEST_CASE("XML that is sound is read") {
  CHECK(events("<a/>") == "<a >");
  CHECK(events("\xef\xbb\xbf<?xml version='1.0'?><!-- c --><a>\n<b x=\"1\" y='>'>t</b></a>\n") ==
        "<a '\n' <b 't' >>");
  CHECK(events("<n:a><n:b/>x</n:a>") == "<a <b >'x' >");
  CHECK(events("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x20ac;</a>") ==
        "<a '<>&\"'AB\xe2\x82\xac' >");
  CHECK(events("<a>&#xe9;&#x1f600;</a>") == "<a '\xc3\xa9\xf0\x9f\x98\x80' >");
  CHECK(events("<a><![CDATA[<&]]>x</a>") == "<a '<&' 'x' >");
}

TEST_CASE("XML that is not sound is an error") {
  for (const char* document : {"",
                               " ",
                               "text",
                               "<a>",
                               "<a></b>",
                               "<a></a",
                               "</a>",
                               "<a></a><b></b>",
                               "<a></a>text",
                               "<!DOCTYPE a><a/>",
                               "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                               "<a>&x;</a>",
                               "<a>&</a>",
                               "<a>&#0;</a>",
                               "<a>&#xd800;</a>",
                               "<a>&#x110000;</a>",
                               "<a>&#99999999999;</a>",
                               "<a b/>",
                               "<a b=c/>",
                               "<a b='c'd='e'/>",
                               "<a b='c/>",
                               "<n:a></m:a>",
                               "<a><![CDATA[x</a>",
                               "<a><!-- x</a>",
                               "<a><?x</a>",
                               "< a/>",
                               "<a",
                               "<",
                               "<a><b></a></b>"}) {
    CAPTURE(document);
    CHECK(events(document) == "!");
  }
  std::string deep;
  for (size_t i = 0; i < XmlReader::kDepthMax; ++i) deep += "<a>";
  CHECK(events(deep + "<b/>") == "!");
}

TEST_CASE("a list is read with its keys decoded") {
  const auto page = parse_list(kList);
  REQUIRE(page.has_value());
  CHECK(page->more);
  REQUIRE(page->objects.size() == 2);
  CHECK(page->objects[0].key == "a b+c");
  CHECK(page->objects[0].bytes == 12);
  CHECK(page->objects[1].key == "d");
  const auto plain = parse_list(
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%20+</Key><Size>1</Size>"
      "</Contents></ListBucketResult>");
  REQUIRE(plain.has_value());
  CHECK(!plain->more);
  CHECK(plain->objects[0].key == "a%20+");
}

TEST_CASE("a list that lacks something is no list") {
  const auto contents = [](const std::string& inner) {
    return parse_list(
        "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false"
        "</IsTruncated><Contents>" +
        inner + "</Contents></ListBucketResult>");
  };
  CHECK(contents("<Key>k</Key><Size>1</Size>"));
  for (const char* inner :
       {"", "<Key>k</Key>", "<Size>1</Size>", "<Key></Key><Size>1</Size>",
        "<Key>k</Key><Size>x</Size>", "<Key>k</Key><Size>-1</Size>", "<Key>%zz</Key><Size>1</Size>",
        "<Key>k</Key><Size>99999999999999999999</Size>"}) {
    CAPTURE(inner);
    CHECK(!contents(inner));
  }
  CHECK(!parse_list("<ListBucketResult></ListBucketResult>"));
  CHECK(!parse_list("<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>"));
  CHECK(
      !parse_list("<ListAllMyBucketsResult><IsTruncated>false</IsTruncated>"
                  "</ListAllMyBucketsResult>"));
  CHECK(!parse_list("<html><body>Log in</body></html>"));
}

TEST_CASE("errors are read with all that heals them") {
  const auto error = parse_error(kError);
  REQUIRE(error.has_value());
  CHECK(error->code == "AuthorizationHeaderMalformed");
  CHECK(error->message == "the region 'x' is wrong");
  CHECK(error->region == "eu-west-1");
  CHECK(error->request_id == "R1");
  CHECK(error->endpoint == "s3.eu-west-1.amazonaws.com");
  CHECK(error->bucket == "b");
  CHECK(error->server_time_ms == 1795514400000);
  CHECK(error->object_bytes == 17);
  CHECK(!parse_error("<Error><Message>no code</Message></Error>"));
  CHECK(!parse_error("<Errors><Code>x</Code></Errors>"));
  CHECK(!parse_error(""));
}

TEST_CASE("a document that is cut anywhere, or damaged, never gives a value of its own") {
  for (size_t cut = 0; cut < kList.size(); ++cut) CHECK(!parse_list(kList.substr(0, cut)));
  for (size_t cut = 0; cut < kError.size(); ++cut) CHECK(!parse_error(kError.substr(0, cut)));
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string document = round % 2 == 0 ? kList : kError;
    for (uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
      const size_t at = random() % document.size();
      switch (random() % 3) {
        case 0:
          document[at] = static_cast<char>(random());
          break;
        case 1:
          document.erase(at, random() % 20);
          break;
        default:
          document.insert(at, document.substr(random() % document.size(), random() % 20));
      }
    }
    // No crash, no endless loop; what comes of it is for the sanitizers to see.
    (void)parse_list(document);
    (void)parse_error(document);
    (void)parse_delete_result(document);
    (void)parse_json_texts(document);
  }
}

TEST_CASE("what is to be deleted is written so that any key survives") {
  const std::string document = delete_document(std::vector<std::string>{"a&b", "<c>", "d\"e'"});
  CHECK(events(document).find("'a&b'") != std::string::npos);
  CHECK(events(document).find("'<c>'") != std::string::npos);
  CHECK(events(document).find("'d\"e''") != std::string::npos);
  CHECK(xml_can_carry("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"));
  for (const char* key : {"\x01", "a\nb", "\t", "\x7f", "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xef\xbf\xbf", "\xe2\x82", "\x80"}) {
    CHECK(!xml_can_carry(key));
  }
  const auto result = parse_delete_result(
      "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
      "<Message>no</Message></Error></DeleteResult>");
  REQUIRE(result.has_value());
  REQUIRE(result->size() == 1);
  CHECK((*result)[0].key == "b");
  CHECK((*result)[0].code == "AccessDenied");
  CHECK(parse_delete_result("<DeleteResult/>").value().empty());
  CHECK(parse_delete_result("<DeleteObjectsResult/>").value().empty());
  CHECK(!parse_delete_result(""));
  CHECK(parse_versioning("<VersioningConfiguration/>") == "");
  CHECK(parse_versioning("<VersioningConfiguration><Status>Enabled</Status>"
                         "</VersioningConfiguration>") == "Enabled");
  CHECK(!parse_versioning("<Other/>"));
}

TEST_CASE("rules of a lifecycle are those that take objects away") {
  const auto parse = [](const std::string& rules) {
    return parse_lifecycle("<LifecycleConfiguration>" + rules + "</LifecycleConfiguration>");
  };
  const std::string expires = "<Expiration><Days>7</Days></Expiration>";
  const std::string enabled = "<Status>Enabled</Status>";
  CHECK(parse("")->empty());
  CHECK_FALSE(parse_lifecycle("<Other/>"));
  CHECK_FALSE(parse("<Rule>"));
  CHECK(parse("<Rule><ID>off</ID><Status>Disabled</Status>" + expires + "</Rule>")->empty());
  CHECK(parse("<Rule>" + enabled + "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>" +
              expires + "</Rule>")
            ->empty());
  CHECK(parse("<Rule>" + enabled +
              "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1"
              "</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>")
            ->empty());
  CHECK(parse("<Rule>" + enabled +
              "<NoncurrentVersionExpiration><NoncurrentDays>1"
              "</NoncurrentDays></NoncurrentVersionExpiration></Rule>")
            ->empty());
  const auto archived =
      parse("<Rule>" + enabled +
            "<Transition><StorageClass>DEEP_ARCHIVE</StorageClass></Transition></Rule>");
  REQUIRE(archived->size() == 1);
  CHECK(archived->front().does == "moves objects to DEEP_ARCHIVE");
  CHECK(parse("<Rule><Action><Delete/></Action><Condition><Age>30</Age></Condition></Rule>")
            ->size() == 1);
  const auto rules =
      parse("<Rule>" + enabled + "<ID>one</ID><Prefix>logs/</Prefix>" + expires + "</Rule><Rule>" +
            enabled +
            "<ID>two</ID><Filter><And><Prefix>logs/a/</Prefix></And></Filter><Expiration>"
            "<Date>2030-01-01T00:00:00.000Z</Date></Expiration></Rule>");
  REQUIRE(rules);
  REQUIRE(rules->size() == 2);
  CHECK(rules->front().id == "one");
  CHECK(rules->front().prefix == "logs/");
  CHECK(rules->front().does == "deletes objects after 7 days");
  CHECK(rules->front().touches("logs/a/"));
  CHECK_FALSE(rules->front().touches("data/"));
  CHECK(rules->back().does == "deletes objects on 2030-01-01T00:00:00.000Z");
  CHECK(rules->back().touches("logs/"));
  CHECK_FALSE(rules->back().touches("logs/b/"));
}

TEST_CASE("times are read in both of their forms") {
  CHECK(parse_iso_time("2013-05-24T00:00:00Z") == 1369353600000);
  CHECK(parse_iso_time(" 2013-05-24T00:00:00.123Z ") == 1369353600000);
  CHECK(parse_iso_time("2013-05-24T02:00:00+02:00") == 1369353600000);
  CHECK(parse_iso_time("2013-05-23T19:30:00-04:30") == 1369353600000);
  for (const char* text : {"", "2013", "2013-05-24", "2013-05-24T00:00:00X", "yesterday"}) {
    CHECK(!parse_iso_time(text));
  }
  CHECK(parse_http_date("Fri, 24 May 2013 00:00:00 GMT") == 1369353600000);
  for (const char* text : {"", "24 May 2013", "Fri, 24 Mai 2013 00:00:00 GMT",
                           "Fri, 24 ayJ 2013 00:00:00 GMT", "7", "Fri, x"}) {
    CHECK(!parse_http_date(text));
  }
}

TEST_CASE("JSON of credential services is read, and nothing else") {
  const auto texts = parse_json_texts(
      " {\"A\": \"x\\\"\\\\\\/\\n\\u0041\", \"n\": 1.5e3, \"t\": true, \"o\": {\"A\": [1, {\"b\": "
      "null}]}, \"e\": {}, \"l\": []} ");
  REQUIRE(texts.has_value());
  CHECK(texts->at("A") == "x\"\\/\nA");
  CHECK(texts->size() == 1);
  CHECK(parse_json_texts("{}").value().empty());
  for (const char* document :
       {"", "x", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":\"b\"", "{\"a\":\"b\",}",
        "{\"a\":\"b\"}x", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u00e4\"}",
        "{\"a\":\"\\u12\"}", "{a:1}", "<html></html>"}) {
    CAPTURE(document);
    CHECK(!parse_json_texts(document));
  }
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "{\"a\":";
  CHECK(!parse_json_texts(deep));
}

}  // namespace wp::s3
