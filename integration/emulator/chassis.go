package emulator

import "math"

// sensor is one reading of a chassis. Readings follow the machine's power and swing a little.
type sensor struct {
	id, name, kind, units string
	off, on, swing        float64
	critical              float64
}

func sensorTable() []sensor {
	return []sensor{
		{"CpuTemp", "CPU temperature", "Temperature", "Cel", 24, 52, 3, 95},
		{"InletTemp", "Inlet temperature", "Temperature", "Cel", 21, 22, 1, 45},
		{"Fan1", "Fan 1", "Rotational", "RPM", 0, 5400, 200, 18000},
		{"Fan2", "Fan 2", "Rotational", "RPM", 0, 5350, 200, 18000},
		{"TotalPower", "Power draw", "Power", "W", 12, 140, 15, 750},
	}
}

// read gives a sensor's value now.
func (q *request) read(s sensor) float64 {
	if !q.m.On() {
		return s.off
	}
	phase := float64(q.s.e.cfg.Now().Unix()%600) / 600 * 2 * math.Pi
	return math.Round(10*(s.on+s.swing*math.Sin(phase))) / 10
}

func (q *request) chassisList() reply { return q.members("Chassis") }

func (q *request) chassis() reply {
	p := root + "/Chassis/" + q.m.Name()
	return ok(object{
		"@odata.id": p, "@odata.type": "#Chassis.v1_19_0.Chassis", "Id": q.m.Name(), "Name": "Chassis of " + q.m.Name(), "ChassisType": "RackMount",
		"Manufacturer": q.m.Config().Manufacturer, "Model": q.m.Config().Model, "SerialNumber": q.m.Config().Serial, "PowerState": powerState(q.m.On()), "Status": healthy(), "IndicatorLED": q.chassisLED(), "NetworkAdapters": link(p + "/NetworkAdapters"),
		"Thermal": link(p + "/Thermal"), "Power": link(p + "/Power"), "Sensors": link(p + "/Sensors"),
		"Links": object{"ComputerSystems": []object{link(q.m.SystemPath())}, "ManagedBy": []object{link(q.managerPath())}},
	})
}

func (q *request) sensors() reply {
	p := root + "/Chassis/" + q.m.Name() + "/Sensors"
	var l []string
	for _, s := range sensorTable() {
		l = append(l, p+"/"+s.id)
	}
	return collection(p, "SensorCollection", "Sensors", l)
}

func (q *request) sensor() reply {
	for _, s := range sensorTable() {
		if s.id == q.PathValue("id") {
			return ok(object{"@odata.id": root + "/Chassis/" + q.m.Name() + "/Sensors/" + s.id, "@odata.type": "#Sensor.v1_5_0.Sensor", "Id": s.id, "Name": s.name,
				"ReadingType": s.kind, "ReadingUnits": s.units, "Reading": q.read(s), "Status": healthy(), "Thresholds": object{"UpperCritical": object{"Reading": s.critical}}})
		}
	}
	return notFound(q.URL.Path)
}

func (q *request) thermal() reply {
	p := root + "/Chassis/" + q.m.Name() + "/Thermal"
	var temperatures, fans []object
	for _, s := range sensorTable() {
		switch s.kind {
		case "Temperature":
			temperatures = append(temperatures, object{"@odata.id": p + "#/Temperatures/" + s.id, "MemberId": s.id, "Name": s.name, "ReadingCelsius": q.read(s), "UpperThresholdCritical": s.critical, "Status": healthy()})
		case "Rotational":
			fans = append(fans, object{"@odata.id": p + "#/Fans/" + s.id, "MemberId": s.id, "Name": s.name, "Reading": int(q.read(s)), "ReadingUnits": "RPM", "Status": healthy()})
		}
	}
	return ok(object{"@odata.id": p, "@odata.type": "#Thermal.v1_7_0.Thermal", "Id": "Thermal", "Name": "Thermal", "Temperatures": temperatures, "Fans": fans})
}

func (q *request) powerDraw() reply {
	p := root + "/Chassis/" + q.m.Name() + "/Power"
	table := sensorTable()
	draw := q.read(table[len(table)-1])
	return ok(object{"@odata.id": p, "@odata.type": "#Power.v1_7_0.Power", "Id": "Power", "Name": "Power",
		"PowerControl":  []object{{"@odata.id": p + "#/PowerControl/0", "MemberId": "0", "Name": "System power", "PowerConsumedWatts": draw, "PowerCapacityWatts": 750}},
		"PowerSupplies": []object{{"@odata.id": p + "#/PowerSupplies/0", "MemberId": "0", "Name": "PSU 1", "PowerSupplyType": "AC", "LineInputVoltage": 230, "PowerCapacityWatts": 750, "LastPowerOutputWatts": draw, "Status": healthy()}}})
}
