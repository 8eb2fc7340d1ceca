package cli_test

// pages are the pages of TestHowtoCommandsRun.
var pages = map[string]page{
	"projects.md": usersPage(),
	"from-baremetal.md": {
		answers: map[string][]string{
			"node create --driver fake-hardware --name n1 --deploy-interface fake --no-automated-clean": {`^node n1 is enrolled$`},
			"port create 52:54:00:12:34:56 --node n1":                                                   {`^port .* is made$`},
			"node add trait n1 CUSTOM_GPU":                                                              {`^node n1: has the trait CUSTOM_GPU$`},
			"node manage n1 --wait":                                                                     {`n1  manageable$`},
			`node list --sort name:desc --limit 5 -f value -c Name -c "Provisioning State"`:             {`\An1 manageable\n\z`},
			"node reboot n1 --power-timeout 60":                                                         {`^rebooting of node n1 has begun`},
			"node set n1 --driver fake-hardware --reset-interfaces":                                     {`^node n1 is changed$`},
			"port list --address 52:54:00:12:34:56 -f json -c Address":                                  {`^    "address": "52:54:00:12:34:56"\n  }$`},
			"node history list n1":                                                                      {`^TIME +SEVERITY`},
		},
	},
	"register-and-provide.md": {
		files: map[string]string{"secret.txt": "x", "nodes.yaml": "nodes: [{name: n1, driver: fake-hardware, automated_clean: false}, {name: n2, driver: fake-hardware, automated_clean: false}]"},
		between: map[string][]string{"inspect --all-manageable --dry-run": {"node create --name n3 --driver fake-hardware --resource-class big", "node manage n3 --watch",
			"node create --name n4 --driver fake-hardware", "node manage n4 --watch"}},
		after: []string{"register nodes.yaml --provide --watch --yes --dry-run"},
		answers: map[string][]string{
			"register nodes.yaml --dry-run":                                   {`^node n1: enrolled$`, `^nothing was done$`},
			"register nodes.yaml":                                             {`^node n1: enrolled$`, `^node n2: enrolled$`},
			"register nodes.yaml --manage --watch --yes":                      {`^for each node: manage$`, `^node n1: as it should be$`, `n1  manageable$`, `n2  manageable$`},
			"register nodes.yaml --provide --watch --yes":                     {`n1  available$`, `n2  available$`},
			"register nodes.yaml --provide --watch --yes --dry-run":           {`^node n2: as it should be$`, `^nothing was done$`},
			"node manage n1 n2 --dry-run":                                     {`^manage, these nodes and no others:$`, `^n1 .* available *$`},
			"inspect --all-manageable --dry-run":                              {`^n3 .* manageable *$`, `^n4 .* manageable *\n\z`},
			`provide --where "state=manageable,resource_class=big" --dry-run`: {`^provide, these nodes and no others:\n.*\nn3 .* manageable *\n\z`},
			"node list --fields name,provision_state,resource_class":          {`^n1 +available +-$`, `^n3 +manageable +big$`},
		},
	},
	"import-from-ironic.md": {
		source:  10,
		files:   map[string]string{"old.txt": "secret", "bmc.yaml": "n7: {redfish_password: x}"},
		between: map[string][]string{"node unset old000 --protected": {"node list --where maintenance=true --fields name,maintenance_reason"}},
		after:   []string{"node list --where name=old000"},
		answers: map[string][]string{
			"import --from ironic http://192.0.2.20:6385": {`nothing is written there$`, `^create +node +old000 +active => active`, `^nothing was done; --apply does it$`},
			"import --from ironic http://192.0.2.20:6385 --from-user admin --from-password-file old.txt --secrets bmc.yaml --dry-run": {`^20 create$`, `^nothing was done; --apply does it$`},
			`import --from ironic http://192.0.2.20:6385 --from-user admin --from-password-file old.txt --secrets bmc.yaml --ignore-maintenance "moves to Bessemer" --apply --yes`: {
				`^node old003: active$`, `^node old001: manageable$`, `^import: 20 done, 0 failed, 0 left out$`},
			"node list --where state=active": {`^old000 .* active +true$`, `^old003 .* active +false$`},
			"doctor":                         {`^10 nodes are well, 0 wait or are not; 0 things are wrong$`},
			`import --from ironic http://192.0.2.20:6385 --ignore-maintenance "moves to Bessemer"`: {`^20 same\n\z`},
			"node list --where maintenance=true --fields name,maintenance_reason":                  {`\A.*\nold000 +fan\n\z`}, // not old007
			"node unset old000 --protected":                                                        {`^node old000 is changed$`},
			"node maintenance set old000":                                                          {`^node old000 is in maintenance$`},
			"node delete old000 --yes":                                                             {`^node old000 is deleted`},
			"node list --where name=old000":                                                        {`\A.*\n\z`},
		},
	},
	"selectors.md": {
		before: []string{"register nodes.yaml", "image add debian.raw.zst", "node manage n3,ready,rack7-b --watch --yes", "node provide ready --watch --yes", "node provide rack7-b --yes",
			"until rack7-b clean wait", "node abort rack7-b --watch", "node maintenance set rack7-a"},
		between: map[string][]string{`node maintenance set n1,n2,n3 --reason "rack 7 moves" --yes`: {"until n1 manageable", "until n2 manageable"}},
		files: map[string]string{"rack7.txt": "n1\nn2\n", "debian.raw.zst": "image", "nodes.yaml": `nodes:
- {name: n1, driver: fake-hardware, traits: [CUSTOM_GPU]}
- {name: n2, driver: fake-hardware, properties: {cpu_arch: x86_64}}
- {name: n3, driver: fake-hardware, owner: lab, properties: {memory_mb: 4096}}
- {name: ready, driver: fake-hardware, automated_clean: false}
- {name: rack7-a, driver: fake-hardware}
- {name: rack7-b, driver: fake-hardware}
`},
		answers: map[string][]string{
			"node manage n1 n2 --yes":                                                                    {`^manage: 2 done, 0 left out, 0 failed$`},
			`node maintenance set n1,n2,n3 --reason "rack 7 moves" --yes`:                                {`^node n3 is in maintenance$`, `^maintenance set: 3 done`},
			"node set @rack7.txt --resource-class big --yes":                                             {`^node n1 is changed$`, `^set: 2 done`},
			"provide --where state=manageable,resource_class=big --dry-run":                              {`^n1 .* manageable`, `^n2 .* manageable.*\n\z`},
			`inspect --where "state=manageable,properties.cpu_arch=" --dry-run`:                          {`\A.*\n.*\nn1 .*\nn3 .*\n\z`},
			`node power off --where "name=rack7-*,maintenance=true" --yes`:                               {`^rack7-a `, `1 done, 0 left out, 0 failed$`},
			`node set --where "state=available|manageable,traits=CUSTOM_GPU" --resource-class gpu --yes`: {`^node n1 is changed$`, `^set: 1 done, 0 left out, 0 failed$`},
			`node undeploy --where "owner=lab,properties.memory_mb<8192" --dry-run`:                      {`^n3 .* manageable +left out: it is manageable; undeploy is possible from active`},
			"state set available n1 --dry-run":                                                           {`^n1 .* manageable -provide-> available \(provide: every disk`},
			`state set manageable --where "state=clean failed" --yes`:                                    {`^rack7-b .* clean failed -manage-> manageable$`, `rack7-b  manageable$`, `^state set: 1 done`},
			"configure --where state=available --image debian.raw.zst --boot-mode uefi --dry-run":        {`^1 node: ready$`, `^  \{"op":"add","path":"/instance_info/image_source",`, `"/properties/capabilities","value":"boot_mode:uefi"\}\n\z`},
			"configure n1,n2 --root-device serial=S1 --property cpus=4 --yes":                            {`^2 nodes: n1, n2$`, `"path":"/properties/cpus","value":4\}$`, `^configure: 2 done`},
		},
	},
	"software-raid.md": {
		before: []string{"node create --name web1 --driver fake-hardware", "node manage web1 --watch", "image add debian.raw.zst", "node create --name web2 --driver fake-hardware",
			"node set web2 --interface raid=agent --automated-clean false", "node manage web2 --watch", "node provide web2 --watch --yes", "configure web2 --image debian.raw.zst --yes"},
		files: map[string]string{"debian.raw.zst": "image", "steps.yaml": `- interface: raid
  step: apply_configuration
  priority: 90
  args:
    raid_config:
      logical_disks:
        - {controller: software, raid_level: "1", size_gb: MAX, is_root_volume: true}
`, "raid.yaml": `logical_disks:
  - {controller: software, raid_level: "1", size_gb: 100, volume_name: os, is_root_volume: true}
  - {controller: software, raid_level: "0", size_gb: MAX, volume_name: data}
`, "wrong.yaml": `logical_disks: [{controller: software, raid_level: "0", size_gb: 100}]`},
		between: map[string][]string{
			"node set web1 --target-raid-config raid.yaml": {
				"node set web1 --target-raid-config wrong.yaml", "node plan web1 --clean --step raid.create_configuration --step deploy.hold"},
			"node plan web1 --clean --step raid.create_configuration:delete_existing=true": {"until web1 clean wait", "node abort web1 --watch", "node manage web1 --watch"},
		},
		answers: map[string][]string{
			"node plan web2 --deploy --steps steps.yaml":                                               {`raid.apply_configuration`, `deploy.write_image`},
			"node set web1 --interface raid=agent":                                                     {`^node web1 is changed$`},
			"node set web1 --target-raid-config wrong.yaml":                                            {`^node web1: the target RAID configuration is set`},
			"node plan web1 --clean --step raid.create_configuration --step deploy.hold":               {`the first logical disk must have raid_level 1`, `exit 1`},
			"node set web1 --target-raid-config raid.yaml":                                             {`^node web1: the target RAID configuration is set`},
			"node plan web1 --clean --step raid.delete_configuration --step raid.create_configuration": {`^boots +1$`, `raid.delete_configuration`, `raid.create_configuration`},
			"node clean web1 --step raid.delete_configuration --step raid.create_configuration --yes":  {`web1`},
			"node plan web1 --clean --step raid.create_configuration:delete_existing=true":             {`^boots +1$`, `delete_existing`},
		},
	},
	"images.md": {
		before: []string{"node create --name web1 --driver fake-hardware", "node set web1 --automated-clean false", "node manage web1 --watch", "node provide web1 --watch --yes"},
		after:  []string{"image list", "node show web1 --fields instance_info"},
		files:  map[string]string{"debian.raw.zst": "image"},
		answers: map[string][]string{
			"image add debian.raw.zst":                          {`debian.raw.zst`},
			"image show debian.raw.zst":                         {`^sha256 +[0-9a-f]{64}$`, `^url +http`},
			"node deploy web1 --image debian.raw.zst --dry-run": {`^web1 .* available *$`},
			"image list":                            {`\A`},
			"image delete debian.raw.zst":           {`debian.raw.zst`},
			"node validate web1":                    {`^deploy +(true|yes|well)`},
			"node show web1 --fields instance_info": {`debian.qcow2`, `5891b5b5`},
			"configure web1 --image http://192.0.2.20/debian.qcow2 --checksum sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --yes": {`^configure: 1 done|^node web1`},
		},
	},
	"live-iso.md": {
		before: []string{"node create --name web1 --driver fake-hardware", "node set web1 --automated-clean false", "node manage web1 --watch", "node provide web1 --watch --yes",
			"node create --name web2 --driver fake-hardware", "node manage web2 --watch"},
		between: map[string][]string{"node plan web1 --deploy": {"node boot device show web1", "node show web1 --fields deploy_interface"},
			"node rebuild web1 --iso http://192.0.2.20/newer.iso --yes --watch": {"node deploy web1 --iso http://192.0.2.20/live.iso --image debian.raw.zst --yes"}},
		answers: map[string][]string{
			"node deploy web1 --iso http://192.0.2.20/live.iso --watch":                                    {`web1  active$`},
			"node deploy web1 --iso http://192.0.2.20/live.iso --image debian.raw.zst --yes":               {`give one of the two`, `exit 2`},
			"node boot device show web1":                                                                   {`cdrom`},
			"node show web1 --fields deploy_interface":                                                     {`ramdisk$`},
			"node plan web1 --deploy":                                                                      {`^boots +0$`, `^note +the machine is switched off, started from the ISO`},
			"node validate web1":                                                                           {`^boot +(true|yes|well)`, `^deploy +(true|yes|well)`},
			"node power reboot web1 --watch":                                                               {`web1`},
			"node rebuild web1 --iso http://192.0.2.20/newer.iso --yes --watch":                            {`web1  active$`},
			"node undeploy web1 --yes --watch":                                                             {`web1  available$`},
			`node maintenance set web1 --reason "installed; its disk is the instance"`:                     {`^node web1 is in maintenance$`},
			"node set web1 --interface deploy=direct":                                                      {`^node web1 is changed$`},
			"node maintenance unset web1":                                                                  {`^node web1 is .*maintenance`},
			"node set web2 --interface deploy=ramdisk --instance-info boot_iso=http://192.0.2.20/live.iso": {`^node web2 is changed$`},
			"node adopt web2 --watch":                                                                      {`web2  active$`},
		},
	},
	"firmware.md": {
		before: []string{"node create --name n1 --driver fake-hardware", "node manage n1 --watch", "node create --name web1 --driver fake-hardware", "node manage web1 --watch", "node adopt web1 --watch"},
		between: map[string][]string{"node service web1 --step firmware.update:settings=@firmware.json --watch": {
			`node clean n1 --step 'firmware.update:settings=[{"component":"bios","url":"file:///x"}]'`}},
		files: map[string]string{"firmware.json": `[{"component": "bmc", "url": "http://192.0.2.20/bmc-3.1.bin"}, {"component": "bios", "url": "http://192.0.2.20/bios-2.0.bin", "wait": 60}]`},
		answers: map[string][]string{
			"node firmware list n1": {`^COMPONENT +CURRENT VERSION`},
			"node clean n1 --step firmware.update:settings=@firmware.json --watch":                     {`firmware.update succeeded`, `n1  manageable$`},
			"node service web1 --step firmware.update:settings=@firmware.json --watch":                 {`firmware.update succeeded`, `web1  active$`},
			`node clean n1 --step 'firmware.update:settings=[{"component":"bios","url":"file:///x"}]'`: {`scheme "file"; the BMC fetches the image itself`, `exit 1`},
			"node set n1 --driver-info firmware_update_unresponsive_bmc_wait=1800":                     {`^node n1 is changed$`},
			"node steps n1 --output json": {`firmware.update`},
			`node set n1 --property 'minimum_firmware={"bmc": "2.72", "bios": "1.4"}'`: {`^node n1 is changed$`},
		},
	},
	"boot-by-https.md": {
		world:  world{redfish: true},
		before: []string{"node create --name web1 --driver redfish --driver-info redfish_address=https://192.0.2.5 --driver-info redfish_username=u --driver-info redfish_password=@secret.txt"},
		files:  map[string]string{"secret.txt": "x"},
		answers: map[string][]string{
			"node set web1 --interface boot=redfish-https": {`^node web1 is changed$`},
			"node validate web1":                           {`^boot .*--boot-tls-listen`},
			"doctor web1":                                  {`web1`},
		},
	},
	"instances.md": {
		world:  world{pretend: true},
		before: []string{"node create --name web1 --driver fake-hardware"},
		between: map[string][]string{
			"node history web1": {`node service web1 --step 'bios.apply_configuration:settings=[{"name":"X"}]' --watch`, "node show web1"},
			`node out-of-service web1 --reason "fan rattles"`: {"node list --fields provision_state"},
		},
		after: []string{"node history web1 --limit 20", "node bios setting show web1 BootMode"},
		files: map[string]string{"settings.json": `[{"name": "BootMode", "value": "Uefi"}]`, "secret.txt": "let-me-in-7\n"},
		answers: map[string][]string{
			"node manage web1 --watch": {`web1  manageable$`},
			"node adopt web1 --watch":  {`web1  active$`},
			"node service web1 --step bios.apply_configuration:settings=@settings.json --watch":   {`bios.apply_configuration succeeded`, `web1  active$`},
			`node service web1 --step 'bios.apply_configuration:settings=[{"name":"X"}]' --watch`: {`entry 1 of settings must have name and value`, `exit 1`},
			"node show web1":              {`^state +service failed`, `\(service failure\)$`, `^verbs +rescue, service, undeploy, abort$`},
			"node history web1":           {`step bios.apply_configuration failed`},
			"node maintenance unset web1": {`^node web1 is out of maintenance$`},
			"node abort web1 --watch":     {`web1  active$`},
			"node rescue web1 --rescue-password-file secret.txt --watch": {`web1  rescue$`},
			"node unrescue web1 --watch":                                 {`web1  active$`},
			"node list --fields provision_state":                         {`^active$`},
			`node out-of-service web1 --reason "fan rattles"`:            {`^node web1: is out of service$`},
			"node history web1 --limit 20":                               {`fan rattles`},
			"node bios setting show web1 BootMode":                       {`^value +Uefi$`},
		},
	},
	"doctor.md": {
		before: []string{"node create --name node-1 --driver fake-hardware", "node create --name node-2 --driver fake-hardware", "node manage node-1 --watch", "node provide node-1 --yes", "until node-1 clean wait"},
		between: map[string][]string{
			"doctor node-1 --fix":                 {"node abort node-1 --watch", "doctor node-1 -o json"},
			"doctor --data-dir /var/lib/bessemer": {"node history node-1", "stop"},
		},
		answers: map[string][]string{
			"doctor":                              {`^node +node-1: waits$`, `^1 node is well, 1 waits or is not; 0 things are wrong$`},
			"doctor node-1":                       {`^waits for +the ramdisk to look itself up \(agent\), since .*, until `, `^held by +clean, number `, `^look after +bmc.version_unknown`, `^way on +bessemer node abort node-1`},
			"doctor node-1 -o json":               {`"verdict": "wrong"`, `exit 1`},
			"doctor node-1 --fix":                 {`^node node-1: did what bessemer node manage node-1 does$`, `^node +node-1: well$`, `^state +manageable`},
			"node history node-1":                 {`moved from clean failed to manageable`},
			"doctor --data-dir /var/lib/bessemer": {`^what is in the data directory /var/lib/bessemer:$`, `^ok +database +sound, in /var/lib/bessemer$`, `exit 1`},
		},
	},
	"follow-changes.md": {
		before: []string{"register nodes.yaml"},
		files:  map[string]string{"nodes.yaml": "nodes: [{name: n1, driver: fake-hardware}, {name: n2, driver: fake-hardware}]", "secret.txt": "0123456789abcdef0123456789abcdef\n"},
		answers: map[string][]string{
			"events --limit 1":                              {`Z n[12]  enroll, power unknown$`},
			`node list --changed-since ""`:                  {`^n1 .* enroll +false$`, `^what changes from now on: bessemer node list --changed-since `},
			"node show n1,n2 --fields name,provision_state": {`\A.*\nn1 +enroll\nn2 +enroll\n\z`},
			"webhook create --url https://hooks.example/changes --secret-file secret.txt": {`^webhook .* is made; `},
			"webhook list": {`https://hooks.example/changes +- +0 +-$`},
		},
	},
	"plans-and-defaults.md": {
		world: world{redfish: true},
		before: []string{"node create --name n7 --driver redfish --driver-info redfish_address=192.0.2.10 --driver-info redfish_username=admin --driver-info redfish_password=@secret.txt",
			"node create --name n1 --driver fake-hardware --extra config_group=rack1", "node manage n1 --watch", "node set n1 --instance-info image_source=http://192.0.2.1/d.raw --instance-info image_os_hash_algo=sha256 --instance-info image_os_hash_value=5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
		files:   map[string]string{"secret.txt": "x", "steps.yaml": "[{interface: bios, step: factory_reset, args: {}, priority: 90}]"},
		between: map[string][]string{"node unhold n1 --watch": {"until n1 clean hold"}},
		answers: map[string][]string{
			"node plan n1 --provide": {`^ +boot of the ramdisk +2m0s$`, `^1 +deploy.erase_devices_metadata \(99\) `, `^2 +deploy.erase_devices \(10\) .* method=auto verify=sample$`, `^boots +1$`},
			"node plan n1 --clean --step management.reset_bmc --step deploy.erase_devices:verify=full": {`^1 +management.reset_bmc +out-of-band`, `verify=full \(operator\)$`, `^boots +1$`},
			"node plan n1 --deploy --steps steps.yaml -o json":                                         {`"blocked": "the node is manageable`, `"step": "bios.factory_reset"`, `"problems": \[\]`},
			"node set n7 --interface inspect=redfish":                                                  {`^node n7 is changed$`},
			"node plan n7 --inspect":                                                                   {`^boots +0$`, `^note +the machine is read through its BMC: nothing is booted, and its power stays as it is$`},
			"node set n1 --driver-info fast_track=true":                                                {`^node n1 is changed$`},
			"node clean n1 --step bios.factory_reset --step deploy.hold --step bios.factory_reset":     {`^clean of node n1 has begun`},
			"node unhold n1 --watch":                                                                   {`n1  manageable$`},
			"config set fleet clean deploy.erase_devices --arg verify=full":                            {`^set for fleet; `},
			"config set group:rack1 clean management.reset_bmc --priority 50":                          {`^set for group:rack1; `},
			"config set node:n1 clean deploy.erase_devices --arg method=overwrite":                     {`^set for node:n1; `},
			"config list":       {`^fleet +clean +deploy.erase_devices +verify +full$`, `^group:rack1 +clean +management.reset_bmc +priority +50$`, `^node:.* method +overwrite$`},
			"config explain n1": {`^scopes +fleet < group:rack1 < node:`, `^clean +deploy.erase_devices +method +overwrite +node +auto \(step\)`},
			"config unset group:rack1 clean management.reset_bmc": {`^forgotten for group:rack1; `},
		},
	},
}
