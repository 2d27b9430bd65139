# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# For tests/bench/executor: the same machine by vagrant-libvirt. Its box is the image's disk; kernel and initrd, which are
# not in that, are handed to QEMU.
#
# shellcheck disable=SC2154,SC2034 # what goes to and fro between that and this

vagrant_box="" vagrant_problem=""

in_vagrant() { env -C "$work/vagrant" "HOME=$work/vagrant" "VAGRANT_HOME=$work/vagrant/home" VAGRANT_CHECKPOINT_DISABLE=1 vagrant "$@"; }

# vagrant_up: makes the box; if there is none, $vagrant_problem says why.
vagrant_up() {
  mkdir -p "$work/vagrant/box"
  if ! command -v vagrant >/dev/null || ! in_vagrant plugin list 2>/dev/null | grep -q '^vagrant-libvirt '; then
    vagrant_problem="vagrant-libvirt is not installed: apt-get install vagrant-libvirt"
    return 1
  fi
  local driver=qemu cpu=maximum
  [ "$of" = tcg ] || { driver=kvm; cpu=host-passthrough; }
  ln "$base" "$work/vagrant/box/box.img" 2>/dev/null || cp "$base" "$work/vagrant/box/box.img"
  echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 3}' >"$work/vagrant/box/metadata.json"
  cat >"$work/vagrant/Vagrantfile" <<END
Vagrant.configure("2") do |config|
  config.vm.box = "bench"
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.ssh.username = "root"
  config.ssh.private_key_path = "$work/key"
  config.ssh.insert_key = false
  config.vm.provider :libvirt do |machine|
    machine.driver = "$driver"
    machine.cpu_mode = "$cpu"
    machine.cpus = $cpus
    machine.memory = $((memory / 1048576))
    machine.graphics_type = "none"
    machine.kernel = "/var/lib/libvirt/images/kernel"
    machine.initrd = "/var/lib/libvirt/images/initrd"
    machine.cmd_line = "root=/dev/vda rw console=ttyS0 quiet no_timer_check"
  end
end
END
  echo 'Vagrant.configure("2") { |config| }' >"$work/vagrant/box/Vagrantfile"
  tar -C "$work/vagrant/box" -cf "$work/vagrant/bench.box" metadata.json Vagrantfile box.img &&
    in_vagrant box add --name bench "$work/vagrant/bench.box" >"$work/vagrant/said" 2>&1 && vagrant_box=bench && return
  vagrant_problem="its box cannot be added: $(tail -n 1 "$work/vagrant/said")"
  return 1
}

vagrant_first_output() {
  local begun line
  begun=$(stamp)
  in_vagrant up --provider libvirt </dev/null >"$work/said" 2>&1
  read -r line < <(in_vagrant ssh -c 'echo output' </dev/null 2>>"$work/said")
  since "$begun"
  [ "${line%$'\r'}" = output ] || echo "failed"
  in_vagrant destroy -f >>"$work/said" 2>&1
}

# vagrant_down: what it leaves in libvirt.
vagrant_down() {
  [ -n "$vagrant_box" ] || return 0
  in_vagrant destroy -f >/dev/null 2>&1
  virsh -q net-destroy vagrant-libvirt 2>/dev/null
  virsh -q net-undefine vagrant-libvirt 2>/dev/null
}
