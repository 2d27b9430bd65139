/* SPDX-License-Identifier: Apache-2.0 */
/* The XML of a fork: its own names, files and sockets, everything else as it was saved; and no
 * other XML is taken. */
#include "daemon/domain-fork.h"

#include <string.h>

#include "daemon/error.h"

#define HEAD                                                                                       \
  "<domain type='qemu'><name>mayfly-f-old</name><uuid>00000000-0000-0000-0000-000000000001</uuid>" \
  "<metadata><mayfly:job xmlns:mayfly='https://mayfly.dev/ns/domain/1' id='f-old' "                \
  "deadline='5' port='mf0'/></metadata><memory unit='KiB'>262144</memory>"                         \
  "<currentMemory unit='KiB'>100000</currentMemory>"
#define DISK                                                                                       \
  "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"                             \
  "<source file='/o/old.qcow2' index='1'/>"                                                        \
  "<backingStore type='file' index='2'><format type='qcow2'/><source file='/i/prepared.qcow2'/>"   \
  "<backingStore/></backingStore><target dev='vda' bus='virtio'/></disk>"
#define SERIAL                                                                                     \
  "<serial type='unix'><source mode='bind' path='/old/console.sock'/></serial>"                    \
  "<console type='unix'><source mode='bind' path='/old/console.sock'/></console>"
#define CHANNEL                                                                                    \
  "<channel type='unix'><source mode='bind' path='/old/agent.sock'/>"                              \
  "<target type='virtio' name='org.mayfly.agent.0'/></channel>"
#define WHOLE HEAD "<devices>" DISK SERIAL CHANNEL "</devices></domain>"

static const MfForkSpec spec = {
    .id = "new",
    .uuid = "00000000-0000-0000-0000-000000000002",
    .overlay = "/o/new.qcow2",
    .disk = "/f/disk.qcow2",
    .agent_socket = "/new/agent.sock",
    .console_socket = "/new/console.sock",
    .deadline = 7,
};

static guint
count(const char *text, const char *what)
{
  guint n = 0;
  while ((text = strstr(text, what)) != NULL) {
    n++;
    text += strlen(what);
  }
  return n;
}

static void
test_fork(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *xml = mf_domain_fork_xml(WHOLE, &spec, &error);
  g_assert_no_error(error);
  static const struct {
    const char *what;
    guint times;
  } parts[] = {
      {"<name>mayfly-new</name>", 1},
      {"<uuid>00000000-0000-0000-0000-000000000002</uuid>", 1},
      {"id=\"new\" deadline=\"7\"", 1},
      {"port=\"mf0\"", 0},
      {"path=\"/new/console.sock\"", 2},
      {"path=\"/new/agent.sock\"", 1},
      {"old", 0},
      {"<currentMemory unit=\"KiB\">100000</currentMemory>", 1},
      {"<source file=\"/o/new.qcow2\"/>", 1},
      {"<source file=\"/i/prepared.qcow2\"/>", 1},
  };
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++)
    g_assert_cmpuint(count(xml, parts[i].what), ==, parts[i].times);
  const char *overlay = strstr(xml, "/o/new.qcow2"), *frozen = strstr(xml, "/f/disk.qcow2"),
             *prepared = strstr(xml, "/i/prepared.qcow2");
  g_assert_true(overlay < frozen && frozen < prepared);
}

/* A machine that came with a label on its disk: what is below needs it too. */
static void
test_label(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) saved = g_string_new(WHOLE);
  g_string_replace(
      saved, "<source file='/o/old.qcow2' index='1'/>",
      "<source file='/o/old.qcow2' index='1'><seclabel model='dac' relabel='no'/></source>", 1);
  g_autofree char *xml = mf_domain_fork_xml(saved->str, &spec, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(count(xml, "<seclabel model=\"dac\" relabel=\"no\"/>"), ==, 2);
}

static void
test_refuse(void)
{
  static const char *const saved[] = {
      "no XML",
      "<network/>",
      "<!DOCTYPE domain [<!ENTITY a 'b'>]>" WHOLE,
      HEAD "</domain>",
      HEAD "<devices>" SERIAL CHANNEL "</devices></domain>",
      HEAD "<devices>" DISK DISK SERIAL CHANNEL "</devices></domain>",
      HEAD "<devices>" DISK CHANNEL "</devices></domain>",
      HEAD "<devices>" DISK SERIAL "</devices></domain>",
      HEAD "<devices>" DISK SERIAL CHANNEL CHANNEL "</devices></domain>",
      HEAD "<devices>" DISK SERIAL CHANNEL "<interface/></devices></domain>",
      HEAD "<devices>" DISK SERIAL CHANNEL "<hostdev/></devices></domain>",
      "<domain><name>a</name><uuid>b</uuid><devices>" DISK SERIAL CHANNEL "</devices></domain>",
  };
  for (guint i = 0; i < G_N_ELEMENTS(saved); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = mf_domain_fork_xml(saved[i], &spec, &error);
    g_assert_null(xml);
    g_assert_error(error, MF_ERROR, MF_ERROR_DAMAGED);
  }
}

/* What is put in is text, whatever it looks like. */
static void
test_quote(void)
{
  g_autoptr(GError) error = NULL;
  MfForkSpec odd = spec;
  odd.overlay = "/o/<a b='c'/>&'\".qcow2";
  g_autofree char *xml = mf_domain_fork_xml(WHOLE, &odd, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(count(xml, "<a b"), ==, 0);
  g_assert_cmpuint(count(xml, "&lt;a b="), ==, 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/domain-fork/fork", test_fork);
  g_test_add_func("/domain-fork/label", test_label);
  g_test_add_func("/domain-fork/refuse", test_refuse);
  g_test_add_func("/domain-fork/quote", test_quote);
  return g_test_run();
}
