/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped template and some machines give the files in domain-xml/ (MF_UPDATE_GOLDEN=1 writes
 * them anew; read the diff), which libvirt's own schema accepts; and what must not be in a template
 * is refused.
 */
#include "daemon/domain-xml.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>

#include "daemon/domain-check.h"
#include "daemon/error.h"
#include "daemon/hypervisor-private.h"

#define SCHEMA "/usr/share/libvirt/schemas/domain.rng"
#define UUID   "6f1b5a4e-2f0c-4f1e-9d52-0c3b5a1d7e11"

static MfImage direct = {
    .name = (char *)"tiny",
    .disk = (char *)"/var/lib/mayfly/images/tiny@0123/disk.qcow2",
    .kernel = (char *)"/var/lib/mayfly/images/tiny@0123/kernel",
    .initrd = (char *)"/var/lib/mayfly/images/tiny@0123/initrd",
    .root_device = (char *)"/dev/sda1",
};
static MfImage loader = {
    .name = (char *)"imported",
    .disk = (char *)"/var/lib/mayfly/images/imported@4567/disk.qcow2",
    .cmdline = (char *)"not used",
};
static MfPort port = {.index = 3, .tap = "mf3", .mac = "52:54:00:6d:00:03", .ip = "10.177.0.19"};
static MfTemplate limits = {
    .disk_iops = 500,
    .disk_bytes_per_second = 50 * 1024 * 1024,
    .network_bytes_per_second = 10 * 1024 * 1024,
};

static MfDomainSpec
plain_spec(void)
{
  MfDomainSpec spec = {
      .id = "a1b2c3",
      .uuid = UUID,
      .kvm = TRUE,
      .emulator = "/usr/bin/qemu-system-x86_64",
      .cpus = 2,
      .memory = 1024 * 1024 * 1024,
      .overlay = "/var/lib/mayfly/overlays/overlay-a1b2c3.qcow2",
      .prepared = "/var/lib/mayfly/images/tiny@0123/prepared-89.qcow2",
      .image = &direct,
      .port = &port,
      .agent_socket = "/run/mayfly/machines/a1b2c3/agent.sock",
      .console_socket = "/run/mayfly/machines/a1b2c3/console.sock",
      .deadline = 1700000000,
      .label = "+64055:+64055",
      .template = &limits,
  };
  return spec;
}

static char *
shipped(void)
{
  char *text = NULL;
  g_autoptr(GError) error = NULL;
  g_file_get_contents(MF_SOURCE_DIR "/templates/domain.xml", &text, NULL, &error);
  g_assert_no_error(error);
  return text;
}

static char *
build(const MfDomainSpec *spec)
{
  g_autofree char *template = shipped();
  g_autoptr(GError) error = NULL;
  char *xml = mf_domain_xml(template, spec, &error);
  g_assert_no_error(error);
  return xml;
}

static void
assert_golden(const char *name, const char *xml)
{
  g_autofree char *path = g_strconcat(MF_SOURCE_DIR "/tests/unit/domain-xml/", name, ".xml", NULL);
  g_autofree char *want = NULL;
  g_autoptr(GError) error = NULL;

  if (g_getenv("MF_UPDATE_GOLDEN") != NULL) {
    g_file_set_contents(path, xml, -1, &error);
    g_assert_no_error(error);
  }
  g_file_get_contents(path, &want, NULL, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(xml, ==, want);
}

static void
test_golden(void)
{
  MfDomainSpec spec = plain_spec();
  g_autofree char *kvm = build(&spec);
  assert_golden("kvm-direct", kvm);

  spec.kvm = FALSE;
  spec.image = &loader;
  spec.port = NULL;
  spec.prepared = NULL;
  spec.label = NULL;
  spec.template = NULL;
  spec.deadline = 0;
  g_autofree char *tcg = build(&spec);
  assert_golden("tcg-loader", tcg);
}

/* Nothing that a value holds becomes markup: read back, it is the value, and no element more is
 * there. */
static void
test_hostile_values(void)
{
  static const char hostile[] = "/x'\"><disk/>&amp;<!-- \xc3\xa4 ]]>";
  MfImage image = direct;
  MfDomainSpec spec = plain_spec();
  spec.id = "i'\"><&";
  spec.overlay = hostile;
  spec.prepared = hostile;
  spec.agent_socket = hostile;
  image.kernel = (char *)hostile;
  image.cmdline = (char *)"a=\"b c\" <init> & root=/dev/vda ro";
  spec.image = &image;
  g_autofree char *xml = build(&spec);
  assert_golden("hostile", xml);

  xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
  g_assert_nonnull(doc);
  xmlNode *domain = xmlDocGetRootElement(doc);
  xmlNode *devices = mf_xml_child(domain, "devices");
  xmlNode *disk = mf_xml_child(devices, "disk");
  g_assert_null(mf_xml_next(disk->next, "disk"));
  g_autofree char *overlay = mf_xml_attribute(mf_xml_child(disk, "source"), "file");
  g_assert_cmpstr(overlay, ==, hostile);
  xmlChar *name = xmlNodeGetContent(mf_xml_child(domain, "name"));
  g_assert_cmpstr((char *)name, ==, "mayfly-i'\"><&");
  xmlFree(name);
  xmlFreeDoc(doc);
}

static void
assert_bad_spec(const MfDomainSpec *spec, const char *word)
{
  g_autofree char *template = shipped();
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_domain_xml(template, spec, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_assert_nonnull(strstr(error->message, word));
}

static void
test_values_xml_cannot_hold(void)
{
  g_autofree char *deep = g_strnfill(108, 'x');
  MfDomainSpec spec = plain_spec();
  spec.overlay = "a\nb";
  assert_bad_spec(&spec, "overlay");
  spec = plain_spec();
  spec.id = "\xff";
  assert_bad_spec(&spec, "id");
  spec = plain_spec();
  spec.uuid = NULL;
  assert_bad_spec(&spec, "uuid is missing");
  spec = plain_spec();
  spec.console_socket = deep;
  assert_bad_spec(&spec, "107 bytes");
}

/* @from … @to of the shipped template, edited, must be refused with @word. */
static void
assert_refused(const char *from, const char *to, const char *word)
{
  MfDomainSpec spec = plain_spec();
  g_autofree char *template = shipped();
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) parts = g_strsplit(template, from, 2);
  g_assert_cmpuint(g_strv_length(parts), ==, 2);
  g_autofree char *edited = g_strconcat(parts[0], to, parts[1], NULL);
  g_assert_null(mf_domain_xml(edited, &spec, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  if (strstr(error->message, word) == NULL)
    g_error("%s: no \"%s\" in: %s", to, word, error->message);
}

static void
test_refusals(void)
{
  static const char *const devices[][2] = {
      {"<hostdev mode='subsystem' type='usb'/>", "<hostdev>"},
      {"<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>", "<filesystem>"},
      {"<interface type='network'><source network='default'/></interface>", "<interface>"},
      {"<disk type='file'><source file='/etc/shadow'/><target dev='vdb'/></disk>", "<disk>"},
      {"<disk type='file'><target dev='vda'/></disk>", "<disk>"},
      {"<serial type='dev'><source path='/dev/sda'/></serial>", "<serial>"},
      {"<channel type='unix'/>", "<channel>"},
      {"<graphics type='vnc' listen='0.0.0.0'/>", "<graphics>"},
      {"<rng model='virtio'><backend model='egd' type='tcp'/></rng>", "<backend>"},
      {"<rng model='virtio'><backend model='random'>/etc/shadow</backend></rng>", "<backend>"},
      {"<watchdog model='i6300esb' action='dump'/>", "<watchdog>"},
      {"<memory model='nvdimm'/>", "<memory>"},
      {"<x:disk xmlns:x='urn:x'/>", "<x:disk>"},
  };
  static const char *const others[][3] = {
      {"<genid/>", "<seclabel type='none' model='apparmor'/>", "<seclabel>"},
      {"<genid/>", "<launchSecurity type='sev'/>", "<launchSecurity>"},
      {"<genid/>", "<sysinfo type='fwcfg'><entry name='x' file='/etc/shadow'/></sysinfo>",
       "<sysinfo>"},
      {"<genid/>", "<os><type>hvm</type></os>", "twice"},
      {"<genid/>",
       "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-S'/>"
       "</q:commandline>",
       "<q:commandline>"},
      {"<os>", "<os firmware='efi'>", "variable store"},
      {"<cmdline>", "<nvram>/x</nvram><cmdline>", "<nvram>"},
      {"<cmdline>", "<loader type='pflash' readonly='yes'>/x</loader><cmdline>", "stateless"},
      {"<target dev='vda' bus='virtio'/>", "<source file='/x'/><target dev='vda'/>", "<source>"},
      {"<target dev='vda' bus='virtio'/>", "<target dev='sda'/>", "vda"},
      {"</domain>", "", "not well-formed"},
      {"<domain type='kvm'>", "<!DOCTYPE domain [<!ENTITY x 'y'>]><domain>", "document type"},
      {"<domain type='kvm'>", "<domain xmlns='urn:x'>", "not a <domain>"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(devices); i++) {
    g_autofree char *to = g_strconcat("<panic model='isa'/>", devices[i][0], NULL);
    assert_refused("<panic model='isa'/>", to, devices[i][1]);
  }
  for (guint i = 0; i < G_N_ELEMENTS(others); i++)
    assert_refused(others[i][0], others[i][1], others[i][2]);
}

static void
test_refusal_names_the_line(void)
{
  MfDomainSpec spec = plain_spec();
  g_autoptr(GError) error = NULL;
  g_assert_null(mf_domain_xml("<domain>\n<os/>\n<devices>\n<hostdev/>\n</devices>\n</domain>",
                              &spec, &error));
  g_assert_error(error, MF_ERROR, MF_ERROR_INVALID);
  g_assert_true(g_str_has_prefix(error->message, "domain template, line 4: <hostdev> "));
  g_clear_error(&error);
  g_assert_null(mf_domain_xml("<domain>\n<os/>\n<devices/>\n</domain>", &spec, &error));
  g_assert_nonnull(strstr(error->message, "vda"));
}

static void
ignore_message(void *context, const char *format, ...)
{
}

static void
test_schema(void)
{
  static const char *const files[] = {"kvm-direct", "tcg-loader"};
  if (!g_file_test(SCHEMA, G_FILE_TEST_EXISTS)) {
    g_test_skip("libvirt's schema is not installed; it comes with the package libvirt0");
    return;
  }
  xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(SCHEMA);
  xmlRelaxNGSetParserErrors(parser, ignore_message, ignore_message, NULL);
  xmlRelaxNG *schema = xmlRelaxNGParse(parser);
  g_assert_nonnull(schema);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree char *path =
        g_strconcat(MF_SOURCE_DIR "/tests/unit/domain-xml/", files[i], ".xml", NULL);
    xmlDoc *doc = xmlReadFile(path, NULL, XML_PARSE_NONET);
    xmlRelaxNGValidCtxt *context = xmlRelaxNGNewValidCtxt(schema);
    g_assert_cmpint(xmlRelaxNGValidateDoc(context, doc), ==, 0);
    xmlRelaxNGFreeValidCtxt(context);
    xmlFreeDoc(doc);
  }
  xmlRelaxNGFree(schema);
  xmlRelaxNGFreeParserCtxt(parser);
}

static void
test_label(void)
{
  g_autofree char *label = mf_hypervisor_host_label(
      "<capabilities><host><secmodel><model>apparmor</model><baselabel type='kvm'>+1:+2</baselabel>"
      "</secmodel><secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+107"
      "</baselabel></secmodel></host></capabilities>");
  g_assert_cmpstr(label, ==, "+64055:+107");
  g_assert_cmpint(mf_hypervisor_label_gid(label), ==, 107);
  g_assert_null(mf_hypervisor_host_label("<capabilities><host/></capabilities>"));
  g_assert_null(mf_hypervisor_host_label("<"));
  g_assert_null(mf_hypervisor_host_label(NULL));
  g_assert_cmpint(mf_hypervisor_label_gid("64055:107"), ==, -1);
  g_assert_cmpint(mf_hypervisor_label_gid("+a:+b"), ==, -1);
  g_assert_cmpint(mf_hypervisor_label_gid(NULL), ==, -1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/domain-xml/golden", test_golden);
  g_test_add_func("/domain-xml/hostile-values", test_hostile_values);
  g_test_add_func("/domain-xml/values-xml-cannot-hold", test_values_xml_cannot_hold);
  g_test_add_func("/domain-xml/refusals", test_refusals);
  g_test_add_func("/domain-xml/refusal-names-the-line", test_refusal_names_the_line);
  g_test_add_func("/domain-xml/schema", test_schema);
  g_test_add_func("/domain-xml/label", test_label);
  return g_test_run();
}
